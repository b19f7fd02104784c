//! What an expression may say, and what it then gives.

use super::*;

fn problem(text: &str) -> String {
    let error = Expression::parse(text).unwrap_err();
    format!("{}|{}", error.problem, error.suggestion.unwrap_or_default())
}

#[test]
fn what_is_allowed_is_read_with_the_names_that_it_needs() {
    let cases = [
        ("evidence.nvme_percentage_used.exists(r, r.value > 95)", "evidence.nvme_percentage_used"),
        ("has(evidence.kernel_taint) && evidence.trust < 2", "evidence.kernel_taint evidence.trust"),
        ("node.pool == 'gpu' ? now > 5 : false", "node.pool"),
        (
            "evidence.disk_read_only.filter(r, r.value && r.kind == 'disk').size() >= 2",
            "evidence.disk_read_only",
        ),
        (
            "evidence.kernel_hardware_errors.exists(r, r.value.exists(line, line.contains('x')))",
            "evidence.kernel_hardware_errors",
        ),
        ("node.vendor in ['A', 'B'] && !node.protected", "node.protected node.vendor"),
        (
            "evidence.kernel_taint.filter(r, r.value > 1).map(r, r.value).exists(v, v in [2, 3])",
            "evidence.kernel_taint",
        ),
        ("[1, now].exists(n, n > 5)", ""),
    ];
    for (text, names) in cases {
        let expression = Expression::parse(text).unwrap_or_else(|bad| panic!("{text}: {bad:?}"));
        let found: Vec<_> = expression.names().iter().map(String::as_str).collect();
        assert_eq!(found.join(" "), names, "{text}");
    }
}

#[test]
fn everything_else_is_refused_with_the_nearest_name() {
    let cases = [
        ("evidence.nvme_percentage_usd.exists(r, r.value > 95)", "nvme_percentage_used"),
        ("evidence.agee_seconds > 3", "age_seconds"),
        ("node.poool == 'x'", "pool"),
        ("evidenc.trust > 1", "evidence"),
        ("evidence.kernel_taint.exists(r, r.valu > 1)", "value"),
        ("evidence.kernel_taint.exist(r, r.value > 1)", "exist"),
        ("matches('a', 'b')", "unknown name \"matches\""),
        ("evidence == evidence", "alone says nothing"),
        ("evidence.exists(name, true)", "alone says nothing"),
        ("{'a': 1}.size() > 0", "makes a map"),
        ("b'x' == b'x'", "bytes"),
        ("", "characters"),
        ("1 +", "is no expression"),
        ("[1].exists(a, [1].exists(b, [1].exists(c, a + b + c > 2)))", "loops in each other"),
        // What a reading has stands in no order.
        ("evidence.kernel_taint.exists(r, r.map(k, k) == ['kind', 'subject'])", "loop over neither"),
        ("evidence.kernel_taint.exists(r, r.exists(k, k == 'value'))", "loop over neither"),
        ("evidence.kernel_taint.exists(r, (true ? r : r).all(k, k != 'value'))", "loop over neither"),
        ("'text'.exists(c, c == 't')", "loop over neither"),
    ];
    for (text, named) in cases {
        let problem = problem(text);
        assert!(problem.contains(named), "{text}: {problem}");
    }
    assert!(problem(&"x".repeat(2000)).contains("characters"));
    // Brackets and pairs of negations alone are no depth: the parser takes them away.
    let _ = Expression::parse(&format!("{}1{} == 1", "(".repeat(400), ")".repeat(400)));
    let _ = Expression::parse(&format!("{}true", "!".repeat(900)));
    assert!(Expression::parse(&format!("{}1{} == 1", "[".repeat(400), "]".repeat(400))).is_err());
    assert!(Expression::parse(&format!("1{} == 1", " + 1".repeat(240))).is_err());
}

#[test]
fn what_is_not_known_is_neither_yes_nor_no_unless_it_does_not_matter() {
    let map = |pairs: &[(&str, Value)]| {
        let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        Value::from(pairs.collect::<std::collections::HashMap<String, Value>>())
    };
    let readings = Value::List(vec![map(&[("value", Value::Int(7))]), map(&[])].into());
    let ask = |text: &str| {
        let evidence = map(&[("kernel_taint", readings.clone()), ("trust", Value::Int(2))]);
        Expression::parse(text).unwrap().ask(vec![("evidence", evidence), ("now", Value::Int(5))])
    };
    assert_eq!(ask("evidence.kernel_taint.exists(r, r.value == 7)"), Answer::Yes);
    assert!(matches!(ask("evidence.kernel_taint.exists(r, r.value == 8)"), Answer::Unknown(_)));
    assert_eq!(ask("evidence.kernel_taint.all(r, r.value == 8)"), Answer::No);
    assert!(
        matches!(ask("evidence.memory_corrected_errors.size() > 0"), Answer::Unknown(why) if why.contains("memory_corrected_errors"))
    );
    assert_eq!(ask("has(evidence.memory_corrected_errors)"), Answer::No);
    assert_eq!(ask("evidence.trust == 2 || evidence.memory_corrected_errors.size() > 0"), Answer::Yes);
    assert_eq!(ask("evidence.memory_corrected_errors.size() > 0 || now == 5"), Answer::Yes);
    assert!(matches!(ask("now / 0 == 1"), Answer::Unknown(_)));
    assert!(matches!(ask("now"), Answer::Unknown(_)));
    assert!(matches!(ask("now + 9223372036854775807 > 0"), Answer::Unknown(_)));
}

proptest::proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in ".{0,80}") {
        let _ = Expression::parse(&text);
    }

    #[test]
    fn whatever_is_read_can_be_asked(
        parts in proptest::collection::vec(proptest::sample::select(PARTS), 1..12),
    ) {
        if let Ok(expression) = Expression::parse(&parts.join(" ")) {
            let _ = expression.ask(vec![("now", Value::Int(5))]);
        }
    }
}

const PARTS: &[&str] = &[
    "now",
    "evidence.trust",
    "node.pool",
    "[now]",
    ".exists(r,",
    "r.value",
    ")",
    "(",
    "+",
    "-",
    "*",
    "/",
    "%",
    "==",
    "<",
    "&&",
    "||",
    "!",
    "?",
    ":",
    "1",
    "-9223372036854775808",
    "'x'",
    ".size()",
    ".contains('x')",
    "has(evidence.kernel_taint)",
    "in",
    "[",
    "]",
    "1.5",
    "null",
    "2u",
];
