//! Keys, certificates and kubeconfigs of a cluster: one authority, as kubeadm would make it.

use std::fs::{self, File, Permissions};
use std::io::Write as _;
use std::net::IpAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use super::hosts::Host;

/// A user of the API server: kubeconfig's name, common name, group.
const USERS: [(&str, &str, Option<&str>); 6] = [
    ("admin", "admin", Some("system:masters")),
    ("controller-manager", "system:kube-controller-manager", None),
    ("scheduler", "system:kube-scheduler", None),
    ("kube-proxy", "system:kube-proxy", None),
    ("flannel", "flannel", None),
    ("apiserver-kubelet", "kube-apiserver-kubelet", Some("system:masters")),
];

pub(crate) struct Authority<'a> {
    folder: PathBuf,
    server: String,
    issuer: Issuer<'a, KeyPair>,
}

impl Authority<'_> {
    /// Everything that the control plane needs, below `folder`.
    pub(crate) fn create(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).with_context(|| format!("create {}", folder.display()))?;
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "gatehouse-test-ca");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key)?;
        write(&folder.join("ca.crt"), &certificate.pem())?;
        let control = Host::control().addresses();
        let authority = Self {
            folder: folder.to_owned(),
            server: format!("https://{}:6443", control.0),
            issuer: Issuer::new(params, key),
        };
        authority.api_server()?;
        for (name, common_name, group) in USERS {
            authority.user(name, common_name, group)?;
        }
        let accounts = KeyPair::generate()?;
        write(&folder.join("service-accounts.key"), &accounts.serialize_pem())?;
        write(&folder.join("service-accounts.pub"), &accounts.public_key_pem())?;
        Ok(authority)
    }

    fn api_server(&self) -> Result<()> {
        let (v4, v6) = Host::control().addresses();
        let mut addresses: Vec<IpAddr> = vec![v4.into(), v6.into()];
        for text in ["127.0.0.1", "::1", "10.96.0.1", "fd00:96::1"] {
            addresses.push(text.parse()?);
        }
        let names = ["kubernetes", "kubernetes.default", "kubernetes.default.svc", "localhost"];
        let mut params = CertificateParams::new(names.map(str::to_owned))?;
        params.subject_alt_names.extend(addresses.into_iter().map(SanType::IpAddress));
        params.distinguished_name.push(DnType::CommonName, "kube-apiserver");
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign("apiserver", params)
    }

    /// A node's kubelet, as a client and as a server.
    pub(crate) fn kubelet(&self, node: &Host) -> Result<()> {
        let (v4, v6) = node.addresses();
        let mut params = CertificateParams::new([node.name.clone()])?;
        params.subject_alt_names.extend([SanType::IpAddress(v4.into()), SanType::IpAddress(v6.into())]);
        params.distinguished_name.push(DnType::OrganizationName, "system:nodes");
        params.distinguished_name.push(DnType::CommonName, format!("system:node:{}", node.name));
        params.extended_key_usages =
            vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&node.name, params)?;
        self.kubeconfig(&node.name)
    }

    fn user(&self, name: &str, common_name: &str, group: Option<&str>) -> Result<()> {
        let mut params = CertificateParams::default();
        if let Some(group) = group {
            params.distinguished_name.push(DnType::OrganizationName, group);
        }
        params.distinguished_name.push(DnType::CommonName, common_name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(name, params)?;
        self.kubeconfig(name)
    }

    fn sign(&self, name: &str, mut params: CertificateParams) -> Result<()> {
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &self.issuer)?;
        write(&self.folder.join(format!("{name}.crt")), &certificate.pem())?;
        write(&self.folder.join(format!("{name}.key")), &key.serialize_pem())
    }

    fn kubeconfig(&self, name: &str) -> Result<()> {
        let Self { folder, server, .. } = self;
        let file = |kind: &str| folder.join(format!("{name}.{kind}"));
        let text = format!(
            "apiVersion: v1\n\
             kind: Config\n\
             clusters: [{{name: gatehouse, cluster: {{server: \"{server}\", certificate-authority: {}}}}}]\n\
             users: [{{name: {name}, user: {{client-certificate: {}, client-key: {}}}}}]\n\
             contexts: [{{name: gatehouse, context: {{cluster: gatehouse, user: {name}}}}}]\n\
             current-context: gatehouse\n",
            folder.join("ca.crt").display(),
            file("crt").display(),
            file("key").display(),
        );
        write(&file("kubeconfig"), &text)
    }
}

fn write(path: &Path, text: &str) -> Result<()> {
    let file = File::create(path).and_then(|mut file| {
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(text.as_bytes())
    });
    file.with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_gets_a_certificate_and_a_kubeconfig() {
        let folder = tempfile::tempdir().unwrap();
        let authority = Authority::create(folder.path()).unwrap();
        authority.kubelet(&Host::node(1)).unwrap();
        for name in ["ca.crt", "apiserver.key", "service-accounts.pub", "n1.crt", "admin.kubeconfig"] {
            assert!(folder.path().join(name).exists(), "{name}");
        }
        let mode = fs::metadata(folder.path().join("n1.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}
