//! Reading policies from files, again and again.

use super::*;

struct Site {
    folder: tempfile::TempDir,
}

impl Site {
    fn new() -> Self {
        let site = Self { folder: tempfile::tempdir().unwrap() };
        std::fs::create_dir(site.path("pools")).unwrap();
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn open(&self) -> anyhow::Result<Policies> {
        Policies::open(Some(self.path("site.toml")), None, UnixMillis(1))
    }
}

fn pool(name: &str) -> PoolName {
    name.parse().unwrap()
}

#[test]
fn a_pool_has_its_own_policy_over_the_sites_and_the_others_have_the_sites() {
    let site = Site::new();
    site.write("site.toml", "[erase]\nverify_samples = 5000\n");
    site.write("pools/gpu.toml", "[boot]\nmethod = \"kexec\"\n");
    site.write("pools/gpu.toml~", "what an editor leaves");
    let policies = site.open().unwrap();
    let expected = Policy::parse("[erase]\nverify_samples = 5000\n[boot]\nmethod = \"kexec\"\n").unwrap();
    assert_eq!(policies.of(&pool("gpu")).policy, expected);
    assert_eq!(policies.of(&pool("gpu")).layers.len(), 2);
    assert_eq!(policies.of(&pool("db")).policy.digest(), policies.site().policy.digest());
    assert_ne!(policies.site().policy.digest(), expected.digest());
    assert_eq!(policies.status().pools, [(pool("gpu"), expected.digest())]);
}

#[test]
fn nothing_starts_with_a_broken_policy_and_the_file_is_named() {
    let cases = [
        ("site.toml", "[evidense]\n", "site.toml, line 1"),
        ("pools/gpu.toml", "\n[fitness]\nmemory_percent_min = 0\n", "gpu.toml, line 3"),
        ("pools/Not a pool.toml", "", "Not a pool.toml"),
    ];
    for (name, text, named) in cases {
        let site = Site::new();
        site.write("site.toml", "");
        site.write(name, text);
        let error = format!("{:#}", site.open().unwrap_err());
        assert!(error.contains(named), "{error}");
    }
    let error = format!("{:#}", Site::new().open().unwrap_err());
    assert!(error.contains("site.toml"), "{error}");
    let nowhere = Some(Site::new().path("elsewhere"));
    let error = format!("{:#}", Policies::open(None, nowhere, UnixMillis(1)).unwrap_err());
    assert!(error.contains("elsewhere"), "{error}");
    assert!(Policies::open(None, None, UnixMillis(1)).unwrap().all().len() == 1);
}

#[test]
fn a_broken_file_changes_nothing_while_the_service_runs_and_a_mended_one_does() {
    let site = Site::new();
    site.write("site.toml", "");
    site.write("pools/gpu.toml", "");
    let policies = site.open().unwrap();
    let before = policies.status();
    // The site's file is good and new, the pool's is broken: neither is taken.
    site.write("site.toml", "[boot]\nmethod = \"kexec\"\n");
    site.write("pools/gpu.toml", "[boot]\nmetod = \"kexec\"\n");
    assert!(policies.reload(UnixMillis(2)).is_err());
    let after = policies.status();
    assert_eq!((after.site, after.pools, after.read_at), (before.site, before.pools, UnixMillis(1)));
    let problem = after.problem.unwrap();
    assert!(problem.contains("gpu.toml, line 2") && problem.contains("did you mean \"method\""), "{problem}");
    std::fs::remove_file(site.path("pools/gpu.toml")).unwrap();
    policies.reload(UnixMillis(3)).unwrap();
    let mended = policies.status();
    assert_eq!((mended.problem, mended.read_at, mended.pools.len()), (None, UnixMillis(3), 0));
    assert_ne!(mended.site, before.site);
}

#[test]
fn another_text_takes_the_place_of_one_file() {
    let site = Site::new();
    site.write("site.toml", "# site\n");
    site.write("pools/gpu.toml", "# gpu\n");
    let policies = site.open().unwrap();
    let new = PolicyLayer { name: "new".to_owned(), text: "# new\n".to_owned() };
    let texts = |name: &str, of_pool: bool| {
        let layers = policies.with(&pool(name), &new, of_pool);
        layers.into_iter().map(|layer| layer.text.trim().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(texts("gpu", false), ["# new", "# gpu"]);
    assert_eq!(texts("gpu", true), ["# site", "# new"]);
    assert_eq!(texts("db", false), ["# new"]);
    assert_eq!(texts("db", true), ["# site", "# new"]);
}
