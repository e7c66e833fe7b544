//! The hash of consistent hashing. It has no seed: all proxies, of any version, must send a key to the same endpoint.

use std::hash::Hasher;
use std::net::{IpAddr, SocketAddr};

use crate::fold::Fold;

/// Where every hash starts.
const START: u64 = 0x6a09_e667_f3bc_c909;

/// A hash of bytes.
pub(crate) struct Hash;

impl Hash {
    /// Of a value.
    pub(crate) fn of(bytes: &[u8]) -> u64 {
        let mut fold = Fold::new(START);
        fold.write(bytes);
        fold.write_usize(bytes.len());
        mix(fold.finish())
    }

    /// Of an address without a port; the same for IPv4 and IPv4 mapped into IPv6.
    pub(crate) fn of_ip(ip: IpAddr) -> u64 {
        match ip {
            IpAddr::V4(v4) => Hash::of(&v4.to_ipv6_mapped().octets()),
            IpAddr::V6(v6) => Hash::of(&v6.octets()),
        }
    }

    /// Of an endpoint.
    pub(super) fn of_address(address: SocketAddr) -> u64 {
        mix(Hash::of_ip(address.ip()) ^ u64::from(address.port()))
    }
}

/// Spreads each bit over all (the finaliser of SplitMix64, a permutation).
pub(crate) fn mix(n: u64) -> u64 {
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Another value would move every session of a running mesh.
    #[test]
    fn stays_what_it_is() {
        let address = "10.0.0.1:80".parse().unwrap();
        let hashes = [Hash::of(b""), Hash::of(b"alice"), Hash::of_address(address)];
        assert_eq!(hashes, [0x4e0c_b827_d359_1637, 0x1622_b756_b326_e8d5, 0x43b0_4477_c66b_4c87]);
        assert_eq!(Hash::of_ip("10.0.0.1".parse().unwrap()), Hash::of_ip("::ffff:10.0.0.1".parse().unwrap()));
    }
}
