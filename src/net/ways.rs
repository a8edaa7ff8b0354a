//! Which network this machine is in, as far as the system tells it to anybody: enough to see that it has changed.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};

/// A number that stays the same as long as routes and addresses do; `None` where the system does not tell (only Linux
/// does).
pub fn ways() -> Option<u64> {
    let routes = std::fs::read_to_string("/proc/net/route").ok()?;
    let addresses = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let mut hasher = DefaultHasher::new();
    (lines_of_routes(&routes), lines_of_addresses(&addresses)).hash(&mut hasher);
    Some(hasher.finish())
}

/// Interface, destination, gateway and mask of each route: counters beside them change by themselves.
fn lines_of_routes(text: &str) -> BTreeSet<Vec<&str>> {
    let all = text.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<&str>>());
    all.filter(|fields| fields.len() >= 8).map(|fields| [0, 1, 2, 7].map(|at| fields[at]).to_vec()).collect()
}

/// Address and interface of each IPv6 address that leads further than to the next machine.
fn lines_of_addresses(text: &str) -> BTreeSet<Vec<&str>> {
    let all = text.lines().map(|line| line.split_whitespace().collect::<Vec<&str>>());
    // The fourth field is the scope: 0 is global.
    all.filter(|fields| fields.len() >= 6 && fields[3] == "00").map(|fields| vec![fields[0], fields[5]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTES: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        wlan0\t00000000\t0101A8C0\t0003\t0\t0\t600\t00000000\t0\t0\t0\n\
        wlan0\t0001A8C0\t00000000\t0001\t0\t0\t600\t00FFFFFF\t0\t0\t0\n";

    #[test]
    fn only_what_leads_elsewhere_counts() {
        let routes = lines_of_routes(ROUTES);
        assert_eq!(routes.len(), 2);
        assert_eq!(routes, lines_of_routes(&ROUTES.replace("\t0\t0\t600\t", "\t3\t9\t600\t")), "counters");
        assert_ne!(routes, lines_of_routes(&ROUTES.replace("0101A8C0", "0101A8C1")), "another gateway");
        assert!(lines_of_routes("").is_empty() && lines_of_routes("Iface\nx y").is_empty());
        let local = "fe800000000000000000000000000001 02 40 20 80 wlan0\n";
        let global = "20010db8000000000000000000000001 02 40 00 80 wlan0\n";
        assert!(lines_of_addresses(local).is_empty());
        assert_eq!(lines_of_addresses(&format!("{local}{global}")).len(), 1);
    }

    #[test]
    fn a_network_that_stays_is_the_same() {
        assert_eq!(ways(), ways());
    }
}
