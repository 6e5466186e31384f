//! Which addresses a connector may reach.
//!
//! Public unicast only. An exception is an (address, port) pair that the operator granted, never an address range and
//! never "private once listed". The check is on what a name resolved to, just before the socket is opened to that
//! very address, so a name that changes its answer gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Why an address is out of bounds, or none if it is public.
#[must_use]
pub fn forbidden(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(v4) => forbidden_v4(v4),
        IpAddr::V6(v6) => match embedded_v4(v6) {
            Some(v4) => forbidden_v4(v4).or_else(|| tunnelled(v6)),
            None => forbidden_v6(v6),
        },
    }
}

/// Ranges of the IANA IPv4 special-purpose registry (RFC 6890) that are not globally reachable, and multicast.
fn forbidden_v4(address: Ipv4Addr) -> Option<&'static str> {
    let [a, b, c, _] = address.octets();
    match (a, b, c) {
        (0, ..) => Some("this network"),
        (10, ..) | (172, 16..=31, _) | (192, 168, _) => Some("private"),
        (100, 64..=127, _) => Some("shared address space"),
        (127, ..) => Some("loopback"),
        (169, 254, _) => Some("link-local, where cloud metadata lives"),
        (192, 0, 0) => Some("protocol assignments"),
        (192, 0, 2) | (198, 51, 100) | (203, 0, 113) => Some("documentation"),
        (192, 88, 99) => Some("6to4 relay"),
        (198, 18..=19, _) => Some("benchmarking"),
        (224..=239, ..) => Some("multicast"),
        (240.., ..) => Some("reserved"),
        // Azure's wire server, which answers like a metadata service on a public-looking address.
        (168, 63, 129) if address.octets()[3] == 16 => Some("cloud metadata"),
        _ => None,
    }
}

/// What is not in 2000::/3 is not global unicast; inside it, the special registries (RFC 6890, RFC 9637).
fn forbidden_v6(address: Ipv6Addr) -> Option<&'static str> {
    let s = address.segments();
    match s[0] {
        0 if address.is_loopback() => Some("loopback"),
        0 => Some("unspecified or reserved"),
        0xfe80..=0xfebf => Some("link-local"),
        0xfec0..=0xfeff => Some("site-local"),
        0xfc00..=0xfdff => Some("unique local, where cloud metadata lives"),
        0xff00..=0xffff => Some("multicast"),
        0x2001 if s[1] < 0x0200 => Some("protocol assignments"),
        0x2001 if s[1] == 0x0db8 => Some("documentation"),
        0x3fff if s[1] < 0x1000 => Some("documentation"),
        0x2000..=0x3fff => None,
        _ => Some("not global unicast"),
    }
}

/// The IPv4 address inside v4-mapped, v4-compatible, NAT64 (RFC 6052, RFC 8215), 6to4 and Teredo addresses.
fn embedded_v4(address: Ipv6Addr) -> Option<Ipv4Addr> {
    let s = address.segments();
    let from = |high: u16, low: u16| {
        let ([a, b], [c, d]) = (high.to_be_bytes(), low.to_be_bytes());
        Some(Ipv4Addr::new(a, b, c, d))
    };
    match s {
        [0, 0, 0, 0, 0, 0xffff, high, low] => from(high, low),
        [0, 0, 0, 0, 0, 0, high, low] if high != 0 => from(high, low),
        [0, 0, 0, 0, 0xffff, 0, high, low] => from(high, low),
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => from(high, low),
        [0x64, 0xff9b, 1, ..] => from(s[6], s[7]),
        [0x2002, high, low, ..] => from(high, low),
        [0x2001, 0, .., high, low] => from(!high, !low),
        _ => None,
    }
}

/// Forms that carry a public IPv4 address but are no way to reach a public service.
fn tunnelled(address: Ipv6Addr) -> Option<&'static str> {
    match address.segments() {
        // v4-mapped and NAT64 with its well-known prefix are how dual-stack hosts spell a public IPv4 address.
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, ..] => None,
        _ => Some("a tunnel or translation address"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn public_addresses_pass() {
        for address in [
            "8.8.8.8",
            "64.207.216.1",
            "2606:4700::1111",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
        ] {
            assert_eq!(forbidden(address.parse().unwrap()), None, "{address}");
        }
    }

    #[test]
    fn everything_that_leads_inside_is_refused_in_every_spelling() {
        let addresses = [
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.255.255.254",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "168.63.129.16",
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd00:ec2::254",
            "ff02::1",
            "::ffff:127.0.0.1",
            "::ffff:169.254.169.254",
            "::127.0.0.1",
            "::ffff:0:10.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "64:ff9b:1::8.8.8.8",
            "2002:7f00:1::",
            "2002:808:808::",
            "2001:0:4136:e378:8000:63bf:80ff:fffe",
            "2001:db8::1",
            "3fff::1",
            "100::1",
            "5f00::1",
        ];
        for address in addresses {
            assert!(forbidden(address.parse().unwrap()).is_some(), "{address}");
        }
    }

    #[test]
    fn neighbours_of_private_ranges_pass() {
        for address in [
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "172.15.0.1",
            "172.32.0.1",
        ] {
            assert_eq!(forbidden(address.parse().unwrap()), None, "{address}");
        }
    }
}
