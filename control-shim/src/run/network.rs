//! Addresses of a run: a /16 of the loopback network of its own, so that several runs on one machine do not meet.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4, TcpListener};

/// Bound for as long as a run lives; whoever finds it bound takes the next network.
const LOCK_PORT: u16 = 15_999;
/// Second octets tried, in order. 127.0 belongs to everybody, 127.53 to systemd-resolved.
const OCTETS: std::ops::RangeInclusive<u8> = 60..=199;
/// A gateway's port on 127.0.0.1 is claimed here first, because looking whether it is free and binding it are two steps, in two processes.
const CLAIM_ADDRESS: Ipv4Addr = Ipv4Addr::new(127, 255, 255, 254);

/// The network of this run, held until dropped.
#[derive(Debug)]
pub struct Network {
    octet: u8,
    _lock: TcpListener,
}

/// Why there is none.
#[derive(Debug, PartialEq, Eq)]
pub enum NetworkError {
    /// `--network` is not `127.N`.
    NotLoopback(String),
    /// Another run has it, or the address cannot be bound.
    Taken(u8, String),
    /// Every one is taken.
    AllTaken,
}

impl std::fmt::Display for NetworkError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NetworkError::NotLoopback(text) => {
                write!(f, "--network {text}: has to be 127.N with N from 1 to 254, such as 127.60")
            }
            NetworkError::Taken(octet, why) => {
                write!(
                    f,
                    "the network 127.{octet} cannot be had ({why}); another run may have it: leave out --network, or name another"
                )
            }
            NetworkError::AllTaken => {
                let (from, to) = (OCTETS.start(), OCTETS.end());
                write!(f, "no network from 127.{from} to 127.{to} is free; end some of the runs on this machine")
            }
        }
    }
}

impl Network {
    /// The first free network, or the one that was asked for.
    pub fn choose(wish: Option<&str>) -> Result<Network, NetworkError> {
        match wish {
            Some(text) => Network::take(octet(text).ok_or_else(|| NetworkError::NotLoopback(text.into()))?),
            None => OCTETS.into_iter().find_map(|octet| Network::take(octet).ok()).ok_or(NetworkError::AllTaken),
        }
    }

    fn take(octet: u8) -> Result<Network, NetworkError> {
        let lock = TcpListener::bind((Ipv4Addr::new(127, octet, 255, 254), LOCK_PORT));
        let lock = lock.map_err(|error| NetworkError::Taken(octet, error.to_string()))?;
        Ok(Network { octet, _lock: lock })
    }

    /// The address of the pod with this number, from 0. `None` when the network is full.
    pub fn pod(&self, number: u16) -> Option<Ipv4Addr> {
        // x.x.0.0 names the network, x.x.255.* is ours.
        let number = number.checked_add(1).filter(|number| *number < 255 << 8)?;
        let [high, low] = number.to_be_bytes();
        Some(Ipv4Addr::new(127, self.octet, high, low))
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "127.{}.0.0/16", self.octet)
    }
}

fn octet(text: &str) -> Option<u8> {
    let text = text.strip_suffix(".0.0/16").unwrap_or(text);
    text.strip_prefix("127.")?.parse().ok().filter(|octet| (1..255).contains(octet))
}

/// A gateway's port on an address that people type, held against other runs until dropped.
#[derive(Debug)]
pub struct Claim {
    _lock: TcpListener,
}

/// Claims `address` if nobody listens there.
pub fn claim(address: SocketAddr) -> Option<Claim> {
    let lock = TcpListener::bind(SocketAddrV4::new(CLAIM_ADDRESS, address.port())).ok()?;
    // Bound and dropped at once: it never had a connection, so the port is free again at once.
    drop(TcpListener::bind(address).ok()?);
    Some(Claim { _lock: lock })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_runs_get_two_networks() {
        let (one, two) = (Network::choose(None).unwrap(), Network::choose(None).unwrap());
        assert_ne!(one.octet, two.octet);
        let again = Network::choose(Some(&format!("127.{}", one.octet)));
        assert!(matches!(again, Err(NetworkError::Taken(octet, _)) if octet == one.octet));
    }

    #[test]
    fn pods_are_numbered() {
        let network = Network::choose(None).unwrap();
        let octets = |number| network.pod(number).map(|address| address.octets()[2..].to_vec());
        for (number, expected) in [
            (0, Some(vec![0, 1])),
            (255, Some(vec![1, 0])),
            (65_278, Some(vec![254, 255])),
            (65_279, None),
            (u16::MAX, None),
        ] {
            assert_eq!(octets(number), expected, "{number}");
        }
    }

    #[test]
    fn wishes_are_checked() {
        for (text, expected) in [
            ("127.60", Some(60)),
            ("127.9.0.0/16", Some(9)),
            ("127.0", None),
            ("127.255", None),
            ("10.1", None),
            ("127.1.2", None),
        ] {
            assert_eq!(octet(text), expected, "{text}");
        }
    }

    #[test]
    fn a_claim_is_exclusive() {
        let probe = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = probe.local_addr().unwrap();
        assert!(claim(address).is_none(), "somebody listens");
        drop(probe);
        let first = claim(address);
        assert!(first.is_some());
        assert!(claim(address).is_none(), "another run has it");
    }
}
