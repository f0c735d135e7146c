//! The status page in a browser: what its script makes of it, on a wide screen and on a phone.

use std::process::Command;

use super::it::support::{Proxy, program_exists, shared_cluster, simple};
use super::predixy;

/// What Debian and others call it.
const BROWSERS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Runs the browser and tells what it prints: the page as it is after its script, and what the
/// script complains of.
fn browse(url: &str, arguments: &[&str]) -> (String, String) {
    let browser = BROWSERS.into_iter().find(|name| program_exists(name)).expect("a browser");
    let profile = super::Scratch::new("browser");
    let mut command = Command::new(browser);
    command.args(["--headless=new", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr"]);
    command.arg(format!("--user-data-dir={}", profile.path().display()));
    // As long for the script as a second is for us.
    command.args(["--virtual-time-budget=3000", "--dump-dom"]).args(arguments).arg(url);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let complaints: Vec<String> = (text(&output.stderr).lines())
        .filter(|line| line.contains("CONSOLE"))
        .map(str::to_owned)
        .collect();
    (text(&output.stdout), complaints.join("\n"))
}

#[test]
fn it_shows_what_there_is_and_complains_of_nothing() {
    let (conf, metrics) = predixy("predixy.conf", shared_cluster());
    let proxy = Proxy::start(&conf);
    let mut client = proxy.client();
    // A key that would be a script if it were not escaped.
    let evil = "<script>document.title='taken over'</script>";
    for _ in 0..50 {
        let _ = client.cmd(&["GET", evil]);
    }
    assert_eq!(client.line("PING"), simple("PONG"));
    let url = format!("http://127.0.0.1:{metrics}/");
    for size in ["--window-size=1280,1600", "--window-size=390,844"] {
        let (page, complaints) = browse(&url, &[size]);
        assert_eq!(complaints, "", "{size}");
        for index in 0..shared_cluster().len() {
            let address = shared_cluster().node(index).address();
            assert!(page.contains(&address), "{size} {address}\n{page}");
        }
        assert!(page.contains("&lt;script&gt;document.title"), "{size}: the top key\n{page}");
        assert!(!page.contains("<title>taken over"), "{size}");
    }
}
