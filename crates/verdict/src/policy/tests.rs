//! Reading policies.

use super::*;

#[test]
fn the_empty_text_and_the_default_text_are_the_same_policy() {
    assert_eq!(Policy::parse("").unwrap(), Policy::parse(Policy::default_text()).unwrap());
}

#[test]
fn every_default_has_a_comment_above_it() {
    let mut previous = "";
    for line in Policy::default_text().lines() {
        if line.contains(" = ") && !line.starts_with('#') {
            let explained = previous.starts_with('#') || line.starts_with("remediations_window");
            assert!(explained, "{line}");
        }
        previous = line;
    }
}

#[test]
fn a_fragment_changes_only_what_it_names() {
    let changed = Policy::parse("[erase]\nverify_samples = 5000\n").unwrap();
    let default = Policy::parse("").unwrap();
    assert_eq!(changed.sections.erase.verify_samples, 5000);
    assert_eq!(changed.sections.fitness, default.sections.fitness);
    assert_ne!(changed.digest(), default.digest());
}

#[test]
fn errors_name_line_and_key() {
    let cases = [
        ("[fitness]\nmemory_min = 3\n", 2, "memory_min", "unknown field"),
        ("[fitnes]\n", 1, "[fitnes]", "unknown field"),
        ("\n\n[boot]\nmethod = \"warp\"\n", 4, "method", "warp"),
        ("[erase]\nverify_samples = \"many\"\n", 2, "verify_samples", "invalid type"),
        ("[erase]\n# few\nverify_samples = 3\n", 3, "verify_samples", "between 1000 and 100000"),
        ("[erase]\nverify = \"some\"\n", 2, "verify", "some"),
        ("[erase]\nskip_already_clean = \"yes\"\n", 2, "skip_already_clean", "invalid type"),
        ("[erase]\nskip_if_clean = true\n", 2, "skip_if_clean", "unknown field"),
        ("[fitness]\ndisk_read_errors = { above = 3 }\n", 2, "disk_read_errors", "unknown field"),
        (
            "[fitness]\nkernel_hardware_errors_fatal = [\"\"]\n",
            2,
            "kernel_hardware_errors_fatal",
            "every line",
        ),
        ("[evidence\n", 1, "[evidence", "unclosed"),
    ];
    for (text, line, key, problem) in cases {
        let error = Policy::parse(text).unwrap_err();
        assert_eq!((error.line, error.key.as_str()), (line, key), "{text}: {error}");
        assert!(error.to_string().contains(problem), "{text}: {error}");
    }
}

#[test]
fn nothing_is_skipped_unless_the_site_says_so() {
    assert!(!Policy::parse("").unwrap().sections.erase.skip_already_clean);
    let on = Policy::parse("[erase]\nskip_already_clean = true\n").unwrap();
    assert!(on.sections.erase.skip_already_clean);
    assert_ne!(on.digest(), Policy::parse("").unwrap().digest());
}

#[test]
fn a_pool_goes_over_its_site_and_a_site_over_the_defaults() {
    let site = "[erase]\nverify_samples = 5000\n[fitness]\nmemory_percent_min = 80\n";
    let pool = "[fitness]\nmemory_percent_min = 90\n";
    let policy = Policy::layered(&[("site.toml", site), ("pools/gpu.toml", pool)]).unwrap();
    assert_eq!(policy.sections.erase.verify_samples, 5000);
    assert_eq!(policy.sections.fitness.memory_percent_min, 90);
    assert_eq!(policy.sections.boot, Policy::parse("").unwrap().sections.boot);
    assert_eq!(
        policy.digest(),
        Policy::parse(&format!("{}memory_percent_min = 90\n", "[erase]\nverify_samples = 5000\n[fitness]\n"))
            .unwrap()
            .digest()
    );
}

#[test]
fn the_canonical_text_is_the_same_policy() {
    for text in ["", "[fitness]\nnvme_media_errors = {}\nkernel_hardware_errors_fatal = [\"a\\nb\\\"\"]\n"] {
        let policy = Policy::parse(text).unwrap();
        assert_eq!(Policy::parse(policy.canonical_text()).unwrap(), policy, "{}", policy.canonical_text());
    }
}

#[test]
fn the_file_at_fault_is_named_and_a_near_name_is_suggested() {
    let cases = [
        ("[fitness]\nmemory_percent_mni = 3\n", "memory_percent_mni", Some("memory_percent_min")),
        ("[fitnes]\n", "[fitnes]", Some("fitness")),
        ("[boot]\nmethod = \"kexecc\"\n", "method", Some("kexec")),
        ("[fitness]\nbananas_in_the_machine_room = 3\n", "bananas_in_the_machine_room", None),
        ("[fitness]\nmemory_percent_min = 0\n", "memory_percent_min", None),
    ];
    for (text, key, suggestion) in cases {
        let error = Policy::layered(&[("site.toml", ""), ("pools/gpu.toml", text)]).unwrap_err();
        assert_eq!((error.layer.as_str(), error.key.as_str()), ("pools/gpu.toml", key), "{error}");
        assert_eq!(error.suggestion.as_deref(), suggestion, "{error}");
        assert!(error.to_string().starts_with("pools/gpu.toml, line "), "{error}");
    }
}

#[test]
fn the_line_is_the_keys_own_even_where_sections_share_its_name() {
    let text = "[boot]\nmethod = \"reboot\"\n\n[evidence]\nage_max_seconds = 3\n";
    assert_eq!(Policy::parse(text).unwrap_err().line, 5);
    assert_eq!(error::line_of("a.b = 1\n[c]\nb = 2\n[a]\n# b = 3\nb = 4\n", "a", "b"), 1);
    assert_eq!(error::line_of("[c]\nb = 2\n[a]\n# b = 3\n  b = 4\n", "a", "b"), 5);
    assert_eq!(error::line_of("[c]\nb = 2\n", "a", "b"), 0);
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,200}") {
        let _ = Policy::parse(&text);
    }
}
