//! A camera that is asked over ONVIF where it points: a real Apache in front, with TLS of an authority of its own and
//! HTTP digest, as cameras have them.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use emberwatch::clock::{Clock as _, SystemClock};
use emberwatch::pipeline::stop::Stop;
use emberwatch::telemetry::onvif_service::PtzService;
use emberwatch::tls::ClientTls;

use crate::servers::{Authority, free_port};

const APACHE: &str = "/usr/sbin/apache2";

/// Answers as a camera does, whatever the web server let through.
const CAMERA: &str = r#"#!/bin/sh
body=$(cat)
printf 'Content-Type: application/soap+xml\r\n\r\n'
place='<tt:PanTilt x="0.25" y="-0.1"/>'
case "$body" in
*Security*) echo "<Fault>a proof in the envelope beside the one in the header</Fault>" ;;
*GetPresets*) echo "<e><GetPresetsResponse><Preset token=\"1\"><Name>north</Name><PTZPosition>$place</PTZPosition></Preset></GetPresetsResponse></e>" ;;
*GetStatus*) echo "<e><GetStatusResponse><PTZStatus><Position>$place</Position></PTZStatus></GetStatusResponse></e>" ;;
esac
"#;

/// A web server; killed when dropped.
struct Apache {
    child: Child,
    url: String,
}

impl Drop for Apache {
    fn drop(&mut self) {
        let _gone = self.child.kill();
        let _reaped = self.child.wait();
    }
}

/// Returns `user:realm:hash` as the server's file of passwords holds it.
fn password_line(user: &str, password: &str) -> String {
    let mut md5 = Command::new("md5sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let text = format!("{user}:camera:{password}");
    md5.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let output = md5.wait_with_output().unwrap();
    let hash = String::from_utf8(output.stdout).unwrap();
    format!("{user}:camera:{}\n", hash.split_whitespace().next().unwrap())
}

/// Starts the camera, whose certificate `authority` signed; none where Apache is not installed.
fn camera(folder: &Path, authority: &Authority) -> Option<Apache> {
    if !Path::new(APACHE).is_file() {
        println!("skipped: {APACHE} is not installed");
        return None;
    }
    let (certificate, key) = authority.issue(folder, "camera", false);
    let script = folder.join("ptz");
    fs::write(&script, CAMERA).unwrap();
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.join("passwords"), password_line("admin", "ember")).unwrap();
    // The server's children are another user's where root starts it.
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755)).unwrap();
    let port = free_port();
    let modules = [
        ("mpm_prefork", "mpm_prefork"),
        ("authn_core", "authn_core"),
        ("authz_core", "authz_core"),
        ("authz_user", "authz_user"),
        ("auth_digest", "auth_digest"),
        ("authn_file", "authn_file"),
        ("alias", "alias"),
        ("cgi", "cgi"),
        ("ssl", "ssl"),
        ("socache_shmcb", "socache_shmcb"),
    ]
    .map(|(name, file)| format!("LoadModule {name}_module /usr/lib/apache2/modules/mod_{file}.so\n"))
    .concat();
    let root = folder.display();
    let configuration = format!(
        "{modules}ServerRoot {root}\nServerName localhost\nPidFile {root}/pid\nErrorLog {root}/errors\n\
         DefaultRuntimeDir {root}\nListen 127.0.0.1:{port}\nSSLEngine on\nSSLCertificateFile {certificate}\n\
         SSLCertificateKeyFile {key}\nScriptAlias /onvif/ptz_service {}\n<Location />\nAuthType Digest\n\
         AuthName camera\nAuthDigestProvider file\nAuthUserFile {root}/passwords\nRequire valid-user\n</Location>\n",
        script.display()
    );
    let file = folder.join("apache.conf");
    fs::write(&file, configuration).unwrap();
    let child = Command::new(APACHE)
        .args(["-DFOREGROUND", "-f"])
        .arg(&file)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let camera = Apache {
        child,
        url: format!("https://localhost:{port}"),
    };
    let clock = SystemClock::new();
    let since = clock.monotonic();
    while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(
            clock.monotonic().since(since) < Duration::from_secs(20),
            "the camera does not start: {}",
            fs::read_to_string(folder.join("errors")).unwrap_or_default()
        );
        let _never = Stop::new().wait_for(Duration::from_millis(20));
    }
    Some(camera)
}

#[test]
fn a_camera_is_asked_by_https_and_digest_and_a_stranger_is_told_what_is_wrong() {
    let folder = tempfile::tempdir().unwrap();
    let authority = Authority::new();
    let Some(camera) = camera(folder.path(), &authority) else {
        return;
    };
    let trusted = ClientTls {
        ca: Some(authority.write(folder.path()).into()),
        ..ClientTls::default()
    };
    let service = |user: Option<(&str, &str)>, tls: &ClientTls| {
        let credentials = user.map(|(user, password)| (user.to_owned(), password.to_owned()));
        PtzService::new(&camera.url, "Profile_1", credentials, tls).unwrap()
    };
    let now = SystemClock::new().wall();

    let known = service(Some(("admin", "ember")), &trusted);
    for _question in 0..3 {
        let status = known.status(now).unwrap();
        assert_eq!((status.pan, status.tilt), (Some(0.25), Some(-0.1)));
    }
    let presets = known.presets(now).unwrap();
    assert_eq!(presets.len(), 1);
    assert_eq!(presets.first().unwrap().name.as_deref(), Some("north"));

    let wrong = service(Some(("admin", "amber")), &trusted)
        .status(now)
        .unwrap_err()
        .to_string();
    assert!(
        wrong.contains("401") && wrong.contains("mend user \"admin\" or the password"),
        "{wrong}"
    );
    assert!(!wrong.contains("amber"), "{wrong}");
    let nobody = service(None, &trusted).status(now).unwrap_err().to_string();
    assert!(nobody.contains("it wants a user and a password"), "{nobody}");

    let other = tempfile::tempdir().unwrap();
    let unknown = ClientTls {
        ca: Some(Authority::new().write(other.path()).into()),
        ..ClientTls::default()
    };
    let refused = service(Some(("admin", "ember")), &unknown)
        .status(now)
        .unwrap_err()
        .to_string();
    assert!(refused.contains("certificate"), "{refused}");
}
