use std::{net::IpAddr, str::FromStr};

use http::{HeaderMap, HeaderName};
use ipnet::IpNet;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
/// A chain of more proxies than these is nobody's.
const HOPS: usize = 16;

/// Which addresses are proxies of ours, whose word on where a request came from counts.
///
/// ```
/// use watertight_edge::Proxies;
/// let proxies: Proxies = "10.0.0.0/8".parse().unwrap();
/// assert!(proxies.has("10.1.2.3".parse().unwrap()));
/// assert!("10.0.0.0/99".parse::<Proxies>().is_err());
/// ```
#[derive(Debug, Clone, Default)]
pub struct Proxies(Vec<IpNet>);

/// A text that is neither an address nor a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give addresses or networks such as `10.0.0.0/8`, with commas between them")]
pub struct ProxiesFault;

impl FromStr for Proxies {
    type Err = ProxiesFault;

    fn from_str(text: &str) -> Result<Self, ProxiesFault> {
        let network = |word: &str| {
            let address = word.parse().map(|address: IpAddr| IpNet::from(address));
            word.parse().or(address).map_err(|_| ProxiesFault)
        };
        let words = text.split(',').map(str::trim);
        let words = words.filter(|word| !word.is_empty());
        words.map(network).collect::<Result<_, _>>().map(Self)
    }
}

impl Proxies {
    /// Whether that address is one of them.
    pub fn has(&self, address: IpAddr) -> bool {
        self.0.iter().any(|network| network.contains(&address))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Where a request came from. `X-Forwarded-For` is read from the right for as long as those who
    /// wrote it are proxies of ours: what stands further to the left is what a client made up.
    pub(crate) fn origin(&self, peer: IpAddr, headers: &HeaderMap) -> IpAddr {
        let mut origin = peer.to_canonical();
        let lines = headers.get_all(FORWARDED_FOR).iter().rev();
        let hops = lines.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops.take(HOPS) {
            if !self.has(origin) {
                break;
            }
            let text = std::str::from_utf8(hop).unwrap_or_default().trim();
            match text.parse::<IpAddr>() {
                Ok(address) => origin = address.to_canonical(),
                // A proxy that forwards no address answers for its clients.
                Err(_) => break,
            }
        }
        origin
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(peer: &str, lines: &[&str]) -> String {
        let proxies: Proxies = "10.0.0.0/8, ::1".parse().unwrap();
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(FORWARDED_FOR, line.parse().unwrap());
        }
        proxies.origin(peer.parse().unwrap(), &headers).to_string()
    }

    #[test]
    fn only_proxies_of_ours_say_where_a_request_came_from_and_the_last_word_counts() {
        for (peer, lines, from) in [
            ("10.0.0.1", &[][..], "10.0.0.1"),
            ("10.0.0.1", &["198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, 198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9", "198.51.100.7"], "198.51.100.7"),
            ("10.0.0.1", &["198.51.100.7, 10.2.2.2"], "198.51.100.7"),
            ("::1", &["2001:db8::7"], "2001:db8::7"),
            ("::ffff:10.0.0.1", &["::ffff:198.51.100.7"], "198.51.100.7"),
            ("198.51.100.7", &["203.0.113.9"], "198.51.100.7"),
            ("10.0.0.1", &["203.0.113.9, nonsense"], "10.0.0.1"),
            ("10.0.0.1", &["203.0.113.9, "], "10.0.0.1"),
        ] {
            assert_eq!(origin(peer, lines), from, "{peer} {lines:?}");
        }
        let long = "10.0.0.2, ".repeat(1_000) + "10.0.0.2";
        assert_eq!(origin("10.0.0.1", &[&long]), "10.0.0.2");
    }
}
