//! TCP connections to a host that may have several addresses.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// How long an address is tried alone before the next one is tried beside it (RFC 8305, section 5).
const NEXT_ADDRESS_AFTER: Duration = Duration::from_millis(250);

/// Connects to a host, whichever of its addresses answers.
pub(crate) async fn dial(host: &str, port: u16) -> io::Result<TcpStream> {
    if let Ok(address) = host.parse::<IpAddr>() {
        return TcpStream::connect(SocketAddr::new(address, port)).await;
    }
    let addresses = tokio::net::lookup_host((host, port)).await?;
    first_of(families_in_turn(addresses)).await
}

/// Puts the addresses of both families in turn, each family in the resolver's order and the one
/// that it prefers first (RFC 8305, section 4).
fn families_in_turn(addresses: impl Iterator<Item = SocketAddr>) -> Vec<SocketAddr> {
    let (mut preferred, mut others) = (Vec::new(), Vec::new());
    for address in addresses {
        let is_preferred = preferred
            .first()
            .is_none_or(|first: &SocketAddr| first.is_ipv6() == address.is_ipv6());
        if is_preferred {
            preferred.push(address);
        } else {
            others.push(address);
        }
    }
    let mut others = others.into_iter();
    let mut ordered = Vec::new();
    for address in preferred {
        ordered.push(address);
        ordered.extend(others.next());
    }
    ordered.extend(others);
    ordered
}

/// Connects to the first address that answers. One that does not answer does not use up the time of
/// the others.
async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut left = addresses.into_iter();
    let mut under_way = JoinSet::new();
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    loop {
        let next = left.next();
        let is_last = next.is_none();
        if let Some(address) = next {
            under_way.spawn(TcpStream::connect(address));
        }
        tokio::select! {
            ended = under_way.join_next() => match ended {
                Some(Ok(Ok(stream))) => return Ok(stream),
                Some(Ok(Err(error))) => last = error,
                Some(Err(panicked)) => last = io::Error::other(panicked),
                None => return Err(last),
            },
            () = tokio::time::sleep(NEXT_ADDRESS_AFTER), if !is_last => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(texts: &[&str]) -> Vec<SocketAddr> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn neither_family_waits_for_the_whole_of_the_other() {
        let ordered = families_in_turn(
            addresses(&["[::1]:1", "[::2]:1", "[::3]:1", "10.0.0.1:1", "10.0.0.2:1"]).into_iter(),
        );
        assert_eq!(
            ordered,
            addresses(&["[::1]:1", "10.0.0.1:1", "[::2]:1", "10.0.0.2:1", "[::3]:1"])
        );
        let ordered =
            families_in_turn(addresses(&["10.0.0.1:1", "[::1]:1", "[::2]:1"]).into_iter());
        assert_eq!(ordered, addresses(&["10.0.0.1:1", "[::1]:1", "[::2]:1"]));
        assert!(families_in_turn(std::iter::empty()).is_empty());
    }

    #[tokio::test]
    async fn an_address_that_refuses_leaves_the_next_one_its_time() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let open = listener.local_addr().unwrap();
        let gone = {
            let listener = tokio::net::TcpListener::bind("127.0.0.2:0").await.unwrap();
            listener.local_addr().unwrap()
        };
        assert_eq!(
            first_of(vec![gone, open])
                .await
                .unwrap()
                .peer_addr()
                .unwrap(),
            open
        );
        assert!(first_of(vec![gone]).await.is_err());
        assert_eq!(
            first_of(Vec::new()).await.unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
    }
}
