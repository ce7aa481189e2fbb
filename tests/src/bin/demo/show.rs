//! One request of each kind, and what came of it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use gatehouse_tests::certificate::Pair;
use gatehouse_tests::client::{Connection, Reply, Target, get, request, send};
use gatehouse_tests::echo::Echo;
use gatehouse_tests::serving::receive;
use gatehouse_tests::topology::{CLIENT_V4, CLIENT_V6};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject as _;

use crate::scene::Scene;

/// Does one thing and says what came of it.
type Show = fn(&Scene<'_>) -> Result<String>;

/// Shows everything; whether all of it was right.
pub(crate) fn all(scene: &Scene<'_>) -> Result<bool> {
    println!("\nThe Gateway has the addresses {} and {}. A client asks:\n", scene.v4, scene.v6);
    let shown: [(&str, Show); 9] = [
        ("HTTP over IPv4", |scene| clear(scene, scene.v4(80), &CLIENT_V4.to_string())),
        ("HTTP over IPv6", |scene| clear(scene, scene.v6(80), &CLIENT_V6.to_string())),
        ("a redirect to HTTPS", redirect),
        ("HTTPS, certificate by name: shop", |scene| https(scene, "shop", &scene.place.shop, "http/1.1")),
        ("HTTPS, certificate by name: blog, HTTP/2", |scene| https(scene, "blog", &scene.place.blog, "h2")),
        ("a rewritten path and an added header", rewrite),
        ("TLS passed through by name", passthrough),
        ("TCP", tcp),
        ("UDP", udp),
    ];
    let mut right = true;
    for (what, show) in shown {
        right &= told(what, show(scene));
    }
    Ok(right)
}

/// Prints what came of something; whether it was right.
pub(crate) fn told(what: &str, outcome: Result<String>) -> bool {
    match outcome {
        Ok(text) => {
            println!("  ok      {what}: {text}");
            true
        }
        Err(error) => {
            println!("  FAILED  {what}: {error:#}");
            false
        }
    }
}

fn clear(scene: &Scene<'_>, address: SocketAddr, client: &str) -> Result<String> {
    let reply = get(&scene.place.topology.client, &Target::http(address), "shop.example.com", "/hello")?;
    let echo = reply.echo()?;
    seen(&echo, client)?;
    Ok(format!("{}, the backend `{}` saw the client {client}", reply.status, echo.backend))
}

fn redirect(scene: &Scene<'_>) -> Result<String> {
    let target = Target::http(scene.v4(80));
    let reply = get(&scene.place.topology.client, &target, "shop.example.com", "/cart?x=1")?;
    let location = header(&reply, "location")?;
    ensure!(
        reply.status == 301 && location == "https://shop.example.com/cart?x=1",
        "{} {location}",
        reply.status
    );
    Ok(format!("{} {location}", reply.status))
}

fn https(scene: &Scene<'_>, site: &str, pair: &Pair, alpn: &str) -> Result<String> {
    let host = format!("{site}.example.com");
    let target = Target::https(scene.v6(443), scene.place.authority.client(&[alpn])?, &host);
    let (reply, certificate) = scene.place.topology.client.block_on(async || {
        let mut connection = Connection::open(&target).await?;
        ensure!(connection.is_h2() == (alpn == "h2"), "{alpn} was not agreed on");
        let certificate = connection.certificate.take();
        anyhow::Ok((connection.send(request(&host, "/")?).await?, certificate))
    })?;
    is_pair(certificate, pair)?;
    let echo = reply.echo()?;
    seen(&echo, &CLIENT_V6.to_string())?;
    Ok(format!("{} from `{}` with the certificate of {host}, by {alpn}", reply.status, echo.backend))
}

fn rewrite(scene: &Scene<'_>) -> Result<String> {
    let host = "shop.example.com";
    let target = Target::https(scene.v4(443), scene.place.authority.client(&["h2"])?, host);
    let request = request(host, "/api/items")?;
    let echo = scene.place.topology.client.block_on(async || send(&target, request).await)?.echo()?;
    ensure!(echo.path == "/v2/items", "the backend saw {}", echo.path);
    ensure!(echo.header("x-shop") == Some("api"), "the backend saw {:?}", echo.headers);
    Ok(format!("/api/items became {} with x-shop: api", echo.path))
}

fn passthrough(scene: &Scene<'_>) -> Result<String> {
    let host = "www.bank.example.com";
    let target = Target::https(scene.v4(8443), scene.place.authority.client(&["h2"])?, host);
    let (echo, certificate) = scene.place.topology.client.block_on(async || {
        let mut connection = Connection::open(&target).await?;
        let certificate = connection.certificate.take();
        anyhow::Ok((connection.send(request(host, "/")?).await?.echo()?, certificate))
    })?;
    is_pair(certificate, &scene.place.bank)?;
    Ok(format!("`{}` showed its own certificate", echo.backend))
}

fn tcp(scene: &Scene<'_>) -> Result<String> {
    let address = scene.v4(9000);
    let connect = || TcpStream::connect_timeout(&address, Duration::from_secs(5));
    let mut stream = scene.place.topology.client.run(connect)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(b"hello")?;
    stream.shutdown(Shutdown::Write)?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    ensure!(text.ends_with("\nhello"), "{text:?}");
    Ok("what was sent came back".to_owned())
}

fn udp(scene: &Scene<'_>) -> Result<String> {
    let socket = scene.place.topology.client.run(|| UdpSocket::bind((CLIENT_V4, 0)))?;
    socket.set_read_timeout(Some(Duration::from_secs(5)))?;
    socket.connect(scene.v4(9001))?;
    socket.send(b"hello")?;
    let mut buffer = [0; 200];
    let length = receive(&socket, &mut buffer).context("no datagram came back")?;
    let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
    ensure!(text.ends_with(" hello"), "{text:?}");
    Ok("a datagram came back from the address it was sent to".to_owned())
}

fn seen(echo: &Echo, client: &str) -> Result<()> {
    let said = echo.header("x-forwarded-for");
    ensure!(said == Some(client), "the backend saw the client {said:?}, and it was {client}");
    Ok(())
}

fn header<'a>(reply: &'a Reply, name: &str) -> Result<&'a str> {
    let value = reply.headers.get(name).with_context(|| format!("{} without {name}", reply.status))?;
    value.to_str().context("a header that is not text")
}

fn is_pair(certificate: Option<Vec<u8>>, pair: &Pair) -> Result<()> {
    let wanted = CertificateDer::from_pem_slice(pair.chain.as_bytes()).context("read the certificate")?;
    ensure!(certificate.as_deref() == Some(wanted.as_ref()), "another certificate was shown");
    Ok(())
}
