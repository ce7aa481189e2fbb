//! Stays up and says what to try.

use std::io;

use anyhow::Result;

use crate::scene::{GATEWAY, NAMESPACE, Scene};

/// Prints things to try, and returns at the end of the input; Ctrl-C ends the program.
pub(crate) fn stay(scene: &Scene<'_>) -> Result<()> {
    println!("{}", things(scene));
    // Without a terminal there is nobody to press Enter, and only a signal ends it.
    if io::stdin().read_line(&mut String::new())? == 0 {
        loop {
            std::thread::park();
        }
    }
    println!("Taking everything away …");
    Ok(())
}

fn things(scene: &Scene<'_>) -> String {
    let Scene { place, node, v4, v6 } = scene;
    let client = place.topology.client.name();
    let on_node = place.topology.node.name();
    let folder = node.folder().display();
    let pins = node.netns().bpffs().join("gatehouse");
    let pins = pins.display();
    let agent = node.agent().unwrap_or_default();
    format!(
        r#"
It stays up. In another terminal, as root:

  in="ip netns exec {client}"; ca="--cacert {folder}/ca.pem"
  $in curl -s http://{v4}/hello -H "Host: shop.example.com"
  $in curl -s "http://[{v6}]/hello" -H "Host: shop.example.com"
  $in curl -s $ca --resolve shop.example.com:443:{v4} https://shop.example.com/api/items
  $in openssl s_client -connect {v4}:443 -servername blog.example.com </dev/null | head -20

Look inside (gatectl is also at target/release/gatectl):

  export GATEHOUSE_RUNTIME_DIR={folder}/run GATEHOUSE_PIN_DIR={pins}
  ctl="ip netns exec {on_node} {folder}/bin/gatectl"
  $ctl vip list; $ctl listener list; $ctl route list; $ctl backend list; $ctl prog list
  $ctl route test --host shop.example.com --path /api/items
  $ctl explain {v4}:443 --from 192.0.2.2
  $ctl get gateway {GATEWAY} -n {NAMESPACE} -o yaml

Change something, and ask again:

  $EDITOR {folder}/source/routes.yaml; ls {folder}/status
  kill -9 {agent}           # the agent; traffic goes on
  tail -f {folder}/log

Enter or Ctrl-C takes everything away."#
    )
}
