//! Where uploads are made by protocols that make them all at one URL, whatever the files are called.

use super::{Destination, folder};
use url::Url;

/// The folder below which SeaweedFS takes uploads by the path that the file will have.
pub const BY_PATH: &str = "/.tus/";

/// The URLs at which an upload to `destination` may be made, the likeliest first: the destination as it was given, or
/// its folder where it ends in a file's name.
pub fn endpoints(destination: &Destination) -> Vec<Url> {
    let url = &destination.url;
    if url.path().contains(BY_PATH) {
        return vec![url.clone()];
    }
    let folder = folder(url).unwrap_or_else(|_| url.clone());
    let base = destination.base.as_ref().unwrap_or(url);
    let mut all = match base == url && names_file(url) {
        true => vec![folder, url.clone()],
        false => vec![base.clone(), folder],
    };
    all.dedup();
    all
}

/// Whether a URL ends in what looks like a file's name: one with an ending.
fn names_file(url: &Url) -> bool {
    url.path_segments().and_then(|mut parts| parts.next_back()).is_some_and(|name| name.contains('.'))
}

/// What a file is to be called that is made at `endpoint`: by the destination, unless that is the endpoint itself; then
/// by its own name here.
pub fn name_at(endpoint: &Url, destination: &Destination, own: &str) -> String {
    let told = super::name(&destination.url).ok();
    let by_path = endpoint.path().contains(BY_PATH);
    told.filter(|_| by_path || *endpoint != destination.url).unwrap_or_else(|| own.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(url: &str, base: Option<&str>) -> (Vec<String>, String) {
        let base = base.map(|base| base.parse().unwrap());
        let destination = Destination { url: url.parse().unwrap(), base, access: Default::default() };
        let all = endpoints(&destination);
        let name = name_at(&all[0], &destination, "own");
        (all.iter().map(Url::to_string).collect(), name)
    }

    #[test]
    fn the_likeliest_url_comes_first() {
        let two = |a: &str, b: &str, name: &str| (vec![a.to_string(), b.to_string()], name.to_string());
        let folder = of("http://h/up/f.bin", Some("http://h/up/"));
        assert_eq!(folder, (vec!["http://h/up/".to_string()], "f.bin".into()));
        let file = of("http://h/up/f.bin", Some("http://h/up/f.bin"));
        assert_eq!(file, two("http://h/up/", "http://h/up/f.bin", "f.bin"));
        assert_eq!(of("http://h/up", Some("http://h/up")), two("http://h/up", "http://h/", "own"));
        assert_eq!(of("http://h/up/f", Some("http://h/up")), two("http://h/up", "http://h/up/", "f"));
        let by_path = of("http://h/.tus/d/f", Some("http://h/.tus/d/"));
        assert_eq!(by_path, (vec!["http://h/.tus/d/f".to_string()], "f".into()));
    }
}
