//! An HTTP proxy, good or bad.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Longest head of a CONNECT that is read.
const HEAD: usize = 8 * 1024;

/// What a proxy does with a CONNECT.
#[derive(Debug, Clone)]
pub enum Proxying {
    /// Lets it through to the address of its `NAME:PORT`; what is not in the table is refused with 403.
    Tunnels(HashMap<String, SocketAddr>),
    /// Answers with this status.
    Refuses(u16),
    /// Says nothing.
    Hangs,
    /// Answers with a head that has no end.
    NeverEnds,
}

/// A proxy on a loopback port, until the process ends.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Proxy {
    /// Starts one.
    ///
    /// # Panics
    ///
    /// When it cannot listen.
    #[must_use]
    pub fn start(does: Proxying) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let asked = Arc::<Mutex<Vec<String>>>::default();
        let noted = Arc::clone(&asked);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (does, noted) = (does.clone(), Arc::clone(&noted));
                thread::spawn(move || drop(serve(client, &does, &noted)));
            }
        });
        Self { address, asked }
    }

    /// The heads that it was sent, in order.
    #[must_use]
    pub fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn serve(mut client: TcpStream, does: &Proxying, noted: &Mutex<Vec<String>>) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") && head.len() < HEAD {
        let mut byte = [0];
        client.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&head).into_owned();
    let wanted = head.strip_prefix("CONNECT ").and_then(|rest| rest.split(' ').next());
    let wanted = wanted.unwrap_or_default().to_owned();
    noted.lock().unwrap_or_else(PoisonError::into_inner).push(head);
    match does {
        Proxying::Tunnels(table) => match table.get(&wanted) {
            Some(target) => tunnel(client, *target),
            None => refuse(&mut client, 403),
        },
        Proxying::Refuses(status) => refuse(&mut client, *status),
        // Until the other side gives up.
        Proxying::Hangs => client.read_exact(&mut [0]),
        Proxying::NeverEnds => {
            client.write_all(b"HTTP/1.1 200 OK\r\nx-long: ")?;
            loop {
                client.write_all(&[b'x'; 1024])?;
            }
        }
    }
}

fn refuse(client: &mut TcpStream, status: u16) -> std::io::Result<()> {
    write!(client, "HTTP/1.1 {status} no\r\ncontent-length: 0\r\n\r\n")
}

fn tunnel(mut client: TcpStream, target: SocketAddr) -> std::io::Result<()> {
    let mut target = TcpStream::connect(target)?;
    client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
    let (mut from, mut to) = (client.try_clone()?, target.try_clone()?);
    thread::spawn(move || {
        std::io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write).ok();
    });
    std::io::copy(&mut target, &mut client)?;
    client.shutdown(Shutdown::Write)
}
