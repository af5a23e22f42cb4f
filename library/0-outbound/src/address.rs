use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Where an address lies, as seen from a server that must not be turned on its own inside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// On the internet.
    Outside,
    /// Loopback, or a private network: ours only where it is said to be.
    Inside,
    /// Metadata services, link-local, multicast, unspecified, reserved: nothing we ever fetch.
    Never,
}

/// Where `address` lies. An address that carries another one lies where the other one lies.
pub(crate) fn place(address: IpAddr) -> Place {
    match address {
        IpAddr::V4(v4) => place_v4(v4),
        IpAddr::V6(v6) => match carried(v6) {
            Some(v4) => place_v4(v4),
            None => place_v6(v6),
        },
    }
}

/// Metadata services that lie where other things lie too.
const METADATA_V4: [Ipv4Addr; 4] = [
    Ipv4Addr::new(169, 254, 169, 254),
    Ipv4Addr::new(100, 100, 100, 200),
    Ipv4Addr::new(168, 63, 129, 16),
    Ipv4Addr::new(192, 0, 0, 192),
];

fn place_v4(v4: Ipv4Addr) -> Place {
    let [a, b, c, _] = v4.octets();
    if METADATA_V4.contains(&v4) {
        return Place::Never;
    }
    match (a, b, c) {
        (127 | 10, ..) | (172, 16..=31, _) | (192, 168, _) => Place::Inside,
        // Between a provider and its customers (RFC 6598), used by overlay networks too.
        (100, 64..=127, _) => Place::Inside,
        // This network, link-local, protocol assignments, 6to4 relays.
        (0, ..) | (169, 254, _) | (192, 0, 0) | (192, 88, 99) => Place::Never,
        // Documentation and benchmarks.
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) | (198, 18..=19, _) => Place::Never,
        // Multicast, reserved, broadcast.
        (224.., ..) => Place::Never,
        _ => Place::Outside,
    }
}

fn place_v6(v6: Ipv6Addr) -> Place {
    let [a, b, ..] = v6.segments();
    if v6.is_loopback() {
        return Place::Inside;
    }
    match (a, b) {
        // The metadata service of a large cloud, within the private range.
        (0xfd00, 0x0ec2) => Place::Never,
        (0xfc00..=0xfdff, _) => Place::Inside,
        // Teredo and other protocol assignments, documentation.
        (0x2001, 0x0000..=0x01ff) | (0x2001, 0x0db8) | (0x3fff, 0x0000..=0x0fff) => Place::Never,
        (0x2000..=0x3fff, _) => Place::Outside,
        _ => Place::Never,
    }
}

/// The IPv4 address that an IPv6 address carries: mapped, compatible, translated (NAT64), 6to4.
fn carried(v6: Ipv6Addr) -> Option<Ipv4Addr> {
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let join = |high: u16, low: u16| Ipv4Addr::from(u32::from(high) << 16 | u32::from(low));
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) | (0, 0, 0, 0, 0xffff, 0) => Some(join(g, h)),
        // `::` and `::1` are addresses of their own.
        (0, 0, 0, 0, 0, 0) if g != 0 => Some(join(g, h)),
        (0x64, 0xff9b, 0, 0, 0, 0) => Some(join(g, h)),
        (0x2002, high, low, ..) => Some(join(high, low)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_range_lies_where_it_lies() {
        for (addresses, expected) in [
            (
                "1.1.1.1 172.15.0.1 172.32.0.1 100.63.0.1 100.128.0.1 2606:4700::1111 64:ff9b::101:101 \
                 ::ffff:8.8.8.8",
                Place::Outside,
            ),
            (
                "127.0.0.1 127.255.1.2 10.0.0.1 172.16.0.1 172.31.255.255 192.168.1.1 100.64.0.1 \
                 ::1 fc00::1 fd12::1 ::ffff:127.0.0.1 ::127.0.0.1 64:ff9b::a00:1 2002:7f00:1:: \
                 ::ffff:0:10.0.0.1",
                Place::Inside,
            ),
            (
                "0.0.0.0 0.1.2.3 169.254.169.254 169.254.0.1 100.100.100.200 168.63.129.16 \
                 192.0.0.192 224.0.0.1 240.0.0.1 255.255.255.255 192.0.2.1 198.18.0.1 :: fe80::1 \
                 fec0::1 ff02::1 fd00:ec2::254 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe \
                 64:ff9b:1::a9fe:a9fe 2001:db8::1 2001::1 2002:a9fe:a9fe::",
                Place::Never,
            ),
        ] {
            for text in addresses.split_whitespace() {
                assert_eq!(place(text.parse().unwrap()), expected, "{text}");
            }
        }
    }
}
