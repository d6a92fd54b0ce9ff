//! What clients say in DIGEST-MD5, and JAAS files, from any bytes.
#![no_main]

use common::sasl::digest_md5::{self, Service};
use common::sasl::directives::Directives;
use common::sasl::jaas;
use libfuzzer_sys::fuzz_target;

const SERVICE: Service<'static> = Service {
    protocol: "zookeeper",
    name: "zk-sasl-md5",
};

fuzz_target!(|data: &[u8]| {
    let _ = Directives::parse(data);
    let password = |_: &str| Some("secret".to_owned());
    let _ = digest_md5::verify(SERVICE, "nonce", data, password);
    if let Ok(answer) = digest_md5::answer(SERVICE, data, "user", "secret", "cnonce") {
        let _ = answer.check(data);
        // What this client says is at least understood.
        let _ = digest_md5::verify(SERVICE, "nonce", &answer.response, password);
    }
    let _ = jaas::parse(&String::from_utf8_lossy(data), |name| Some(name.to_owned()));
});
