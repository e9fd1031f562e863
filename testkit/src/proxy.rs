//! A network that fails on demand: a TCP proxy between a process under test and a server, whose lines can be cut, fall silent, or be
//! forgotten. It decides nothing and reads nothing of what passes; tests of what a failing network does stand on it.

use std::{io, net::SocketAddr, path::PathBuf, str::FromStr, time::Duration};

use anyhow::Context;
use sqlx::postgres::PgConnectOptions;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
};

/// What one read takes.
const BUFFER: usize = 16 * 1024;
/// The pause after a connection that could not be accepted.
const AGAIN: Duration = Duration::from_millis(50);

/// A proxy before one server. Dropped, it closes every line.
///
/// ```no_run
/// # async fn test() -> anyhow::Result<()> {
/// use testkit::Proxy;
///
/// let proxy = Proxy::before_postgres("postgres://app@127.0.0.1:5432/app").await?;
/// let url = proxy.url(); // for the process under test
/// proxy.silence(); // nothing passes, nobody is told
/// proxy.heal();
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Proxy {
    url: String,
    network: watch::Sender<Network>,
    accepting: JoinHandle<()>,
}

/// What lines do at the moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    Silent,
    Cut,
}

/// The state of the whole network, and which of its lines were forgotten: those that began before the last forgetting.
#[derive(Debug, Clone, Copy)]
struct Network {
    state: State,
    forgotten: u64,
}

/// Where the server listens.
#[derive(Debug, Clone)]
enum Target {
    Tcp(String),
    Unix(PathBuf),
}

impl Proxy {
    /// A proxy before the PostgreSQL at `url`, which may name a folder of Unix sockets.
    ///
    /// # Errors
    /// When the URL cannot be read, or no port is free.
    pub async fn before_postgres(url: &str) -> anyhow::Result<Self> {
        let options = PgConnectOptions::from_str(url).context("the URL of PostgreSQL cannot be read")?;
        let target = match options.get_socket() {
            Some(folder) => Target::Unix(folder.join(format!(".s.PGSQL.{}", options.get_port()))),
            None => Target::Tcp(format!("{}:{}", options.get_host(), options.get_port())),
        };
        Self::before(url, target).await
    }

    /// A proxy before the RabbitMQ at `url`.
    ///
    /// # Errors
    /// When the URL cannot be read, or no port is free.
    pub async fn before_rabbit(url: &str) -> anyhow::Result<Self> {
        let (_, host, _) = parts(url)?;
        let target = if host.contains(':') { host.to_owned() } else { format!("{host}:5672") };
        Self::before(url, Target::Tcp(target)).await
    }

    async fn before(url: &str, target: Target) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let url = through(url, listener.local_addr()?)?;
        let (network, state) = watch::channel(Network { state: State::Open, forgotten: 0 });
        let accepting = tokio::spawn(accept(listener, target, state));
        Ok(Self { url, network, accepting })
    }

    /// The server's URL by way of this proxy.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Closes every line and refuses new ones, as a firewall that resets does, until [`heal`](Self::heal).
    pub fn cut(&self) {
        self.network.send_modify(|network| network.state = State::Cut);
    }

    /// Lets nothing pass, and tells nobody, until [`heal`](Self::heal): what was said meanwhile arrives then, a goodbye included.
    /// New lines begin, and get no answer.
    pub fn silence(&self) {
        self.network.send_modify(|network| network.state = State::Silent);
    }

    /// Forgets every line that is open: neither end ever hears of the other again, nor that it is gone, as when a router between
    /// them lost its state. New lines work.
    pub fn forget(&self) {
        self.network.send_modify(|network| network.forgotten += 1);
    }

    /// Lets everything pass again, but for lines that were forgotten or cut.
    pub fn heal(&self) {
        self.network.send_modify(|network| network.state = State::Open);
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn accept(listener: TcpListener, target: Target, network: watch::Receiver<Network>) {
    let mut lines = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((client, _)) => drop(lines.spawn(line(client, target.clone(), network.clone()))),
                Err(_) => tokio::time::sleep(AGAIN).await,
            },
            Some(_) = lines.join_next() => {}
        }
    }
}

/// One line from its first byte to its last. Both ends are closed when it returns.
async fn line(client: TcpStream, target: Target, network: watch::Receiver<Network>) {
    let born = network.borrow().forgotten;
    let mut watching = network.clone();
    let carried = async {
        passable(&mut network.clone(), born).await;
        client.set_nodelay(true)?;
        match target {
            Target::Tcp(address) => {
                let server = TcpStream::connect(address).await?;
                server.set_nodelay(true)?;
                carry(client, server, &network, born).await
            }
            Target::Unix(path) => carry(client, UnixStream::connect(path).await?, &network, born).await,
        }
    };
    tokio::select! {
        _ = watching.wait_for(|network| network.state == State::Cut && network.forgotten == born) => {}
        _ = carried => {}
    }
}

async fn carry<S>(client: TcpStream, server: S, network: &watch::Receiver<Network>, born: u64) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite,
{
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = tokio::io::split(server);
    tokio::try_join!(
        flow(from_client, to_server, network.clone(), born),
        flow(from_server, to_client, network.clone(), born)
    )
    .map(drop)
}

/// One direction. What was read waits while nothing passes, and so does the end.
async fn flow(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut network: watch::Receiver<Network>,
    born: u64,
) -> io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await;
        passable(&mut network, born).await;
        match read? {
            0 => return to.shutdown().await,
            n => to.write_all(&buffer[..n]).await?,
        }
    }
}

/// Returns when a line that began after `born` forgettings may carry something: never, where it was forgotten since.
async fn passable(network: &mut watch::Receiver<Network>, born: u64) {
    if network.wait_for(|network| network.state == State::Open && network.forgotten == born).await.is_err() {
        std::future::pending::<()>().await;
    }
}

/// A URL in three: up to its host, host and port, the rest.
fn parts(url: &str) -> anyhow::Result<(&str, &str, &str)> {
    let scheme = url.find("://").context("a URL begins with a scheme")? + 3;
    let end = url[scheme..].find(['/', '?']).map_or(url.len(), |at| scheme + at);
    let host = url[scheme..end].rfind('@').map_or(scheme, |at| scheme + at + 1);
    Ok((&url[..host], &url[host..end], &url[end..]))
}

/// The same URL by way of `proxy`. What names another place in its query is left out.
fn through(url: &str, proxy: SocketAddr) -> anyhow::Result<String> {
    let (before, _, rest) = parts(url)?;
    let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
    let kept: Vec<&str> = query
        .split('&')
        .filter(|pair| !pair.is_empty() && !pair.starts_with("host=") && !pair.starts_with("port="))
        .collect();
    let query = if kept.is_empty() { String::new() } else { format!("?{}", kept.join("&")) };
    Ok(format!("{before}{proxy}{path}{query}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_way_through_the_proxy_keeps_who_asks_and_for_what() {
        let proxy = SocketAddr::from(([127, 0, 0, 1], 7));
        for (url, expected) in [
            ("postgres://app@localhost/app?host=/a/b&port=9", "postgres://app@127.0.0.1:7/app"),
            ("postgres://u:p@h:5432/app?sslmode=disable", "postgres://u:p@127.0.0.1:7/app?sslmode=disable"),
            ("postgres://h", "postgres://127.0.0.1:7"),
            ("amqp://guest:guest@127.0.0.1:5672/%2f", "amqp://guest:guest@127.0.0.1:7/%2f"),
        ] {
            assert_eq!(through(url, proxy).unwrap(), expected);
        }
    }
}
