//! Command-line options as the stock tools take them.
