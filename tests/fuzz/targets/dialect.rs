//! Dialects and what stands in them: every text is read or refused, line by line, and a paste too.
#![no_main]
use libfuzzer_sys::fuzz_target;
use onward_fuzz::split;
use onward_fuzz::wire::dialect::{Asked, Dialect, Key, Parse, Place, Reply, Template, Values, draft, fits_any, words};

struct All;
impl Values for All {
    fn value(&self, key: &Key) -> Option<String> {
        Some(key.to_string())
    }
    fn flag(&self, _: onward_fuzz::wire::dialect::Flag) -> bool {
        true
    }
}

fuzz_target!(|data: &[u8]| {
    let Some((which, text)) = split(data) else { return };
    match which % 4 {
        0 => match Dialect::parse(text) {
            Ok(dialect) => {
                let reply = Reply::new(200, http::HeaderMap::new(), b"{\"a\":[1]}".to_vec(), Parse::Json);
                let _ = (fits_any(&dialect.send.call.ok, &reply), dialect.is_by_offset());
                assert!(dialect.count(1 << 40, dialect.chunks.fitting(dialect.chunks.size)) > 0);
            }
            Err(problems) => assert!(!problems.is_empty()),
        },
        1 => {
            let Ok(template) = Template::parse(text) else { return };
            let _ = (template.fill(&All), template.fill_json(&All));
            assert!(!template.fill_header(&All).unwrap().contains(char::is_control));
        }
        2 => {
            let reply = Reply::new(200, http::HeaderMap::new(), text.as_bytes().to_vec(), Parse::Json);
            assert!(words(&reply, &[Place::Body]).is_none_or(|words| !words.contains(char::is_control)));
        }
        _ => {
            let Ok(asked) = Asked::from_curl(text) else { return };
            assert!(Dialect::parse(&draft(&asked, &[])).is_ok());
        }
    }
});
