//! HTML pages in Chromium and in the Nu checker, which `scripts/test.sh` fetches.

use std::path::Path;
use std::process::Command;

use crate::common::{Lab, checkout, stdout_of};
use serde_json::Value;

/// The problems of these pages, each a line that begins with the page's path.
///
/// `tests/pages/check.mjs` opens them in Chromium: light and dark, at 1280 and 400 pixels and on paper. It finds console
/// messages, requests, content wider than the page, pictures without text, and violations of WCAG A and AA. The Nu checker
/// finds invalid HTML; its warnings count too. Both take seconds to start, so pass all pages in one call.
fn problems(pages: &[&Path]) -> Vec<String> {
    let packages = checkout().join(".pages/node_modules");
    assert!(packages.exists(), "no {}: run scripts/test.sh, which sets it up", packages.display());
    let mut found = vec![];
    let mut node = Command::new("node");
    let seen = stdout_of(node.arg(checkout().join("tests/pages/check.mjs")).args(pages));
    assert_eq!(seen.lines().count(), pages.len(), "a line for each page: {seen}");
    for line in seen.lines() {
        let page: Value = serde_json::from_str(line).unwrap();
        let file = page["file"].as_str().unwrap();
        let problems = page["problems"].as_array().unwrap();
        found.extend(problems.iter().map(|problem| format!("{file}: {}", problem.as_str().unwrap())));
    }
    let mut java = Command::new("java");
    java.arg("-jar").arg(packages.join("vnu-jar/build/dist/vnu.jar"));
    java.args(["--stdout", "--format", "json", "--exit-zero-always"]).args(pages);
    let report: Value = serde_json::from_str(&stdout_of(&mut java)).unwrap();
    for message in report["messages"].as_array().unwrap() {
        let file = message["url"].as_str().unwrap_or_default().trim_start_matches("file:");
        let (line, text) = (&message["lastLine"], message["message"].as_str().unwrap());
        found.push(format!("{file}: line {line} is not valid: {text}"));
    }
    found
}

#[test]
#[ignore = "needs Chromium and Java"]
fn the_checks_find_the_problems_of_a_bad_page_in_chromium() {
    let bad = checkout().join("tests/pages/bad.html");
    let found = problems(&[&bad]);
    // Part of the sentence, and where it is seen.
    let everywhere = "(light 1280, light 400, light print 794, dark 1280, dark 400, dark print 794)";
    for (what, place) in [
        ("console error: said aloud", everywhere),
        ("console: uncaught ", everywhere),
        ("request to http://127.0.0.1:9/x.png", everywhere),
        ("pixels wide, by <div.wide> \"wide words\" to 908", "(light 400, dark 400)"),
        ("pixels wide, by <div.wide> \"wide words\" to 908", "(light print 794, dark print 794)"),
        ("paper does not scroll, and cuts <div.paper>", "(light print 794, dark print 794)"),
        ("its <svg> cuts <text> \"a label far too long", everywhere),
        ("picture that does not show: <img> http://127.0.0.1:9/x.png", everywhere),
        ("picture without alternative text: <img> data:", everywhere),
        ("picture without alternative text: <svg>", everywhere),
        ("contrast of <text> \"pale axis\" is 1.92", everywhere),
        ("contrast of <text> \"on a cell\" is 1.26", everywhere),
        ("contrast of <p.wall> \"words on a wall\" can't be told", everywhere),
        ("axe color-contrast: ", "pale words</p>, contrast 2.32 (light 1280, light 400, "),
        (
            "axe color-contrast: ",
            "words that pale at night</p>, contrast 1.66 (dark 1280, dark 400, dark print 794)",
        ),
        ("axe image-alt: ", everywhere),
        ("is not valid: ", "“blink”"),
        ("is not valid: ", "“alt”"),
    ] {
        let is_it = |line: &&String| line.contains(what) && line.contains(place);
        assert!(found.iter().any(|line| is_it(&line)), "{what} {place}: not among {found:#?}");
    }
    assert!(found.iter().all(|line| line.starts_with(&*bad.to_string_lossy())), "{found:#?}");
    assert!(!found.iter().any(|line| line.contains("good text")), "{found:#?}");
}

#[test]
#[ignore = "needs Chromium and Java"]
fn the_pages_of_runs_have_no_problems_in_chromium() {
    let lab = Lab::new();
    let train = |options: &str| lab.train(&format!("--epochs 2 --device cpu {options}"));
    let mlp = train("--model mlp");
    let (mlr, other) = (train("--model mlr"), train("--model mlr --seed 1"));
    for (side, seed) in [("a", 0), ("b", 1)] {
        std::fs::create_dir(lab.path().join(side)).unwrap();
        let options =
            format!("--epochs 2 --device cpu --seed {seed} --output-dir {side} --trace {side}/run.trace");
        let assert = lab.program(&format!("reproduce {options}")).assert().success();
        std::fs::write(lab.path().join(side).join("stdout.txt"), &assert.get_output().stdout).unwrap();
    }
    let name = "a name that is <long> & goes on without a single break_".repeat(3).replace(' ', "_");
    let folder = lab.path().join("logs").join(name).join("version_0");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::copy(lab.path().join(&mlp).join("metrics.csv"), folder.join("metrics.csv")).unwrap();
    let pages = [
        ("mlp.html", mlp),
        ("mlr.html", mlr.clone()),
        ("same.html", format!("{mlr} {mlr}")),
        ("other.html", format!("{mlr} {other}")),
        ("traced.html", "a b".into()),
        ("lightning.html", "logs".into()),
    ];
    for (page, runs) in &pages {
        lab.program(&format!("report {runs} -o {page}")).assert().success();
    }
    let mut pages: Vec<_> = pages.iter().map(|(page, _)| lab.path().join(page)).collect();
    pages.extend(
        ["output/report.html", "output/parity.html", "output/study/study.html"]
            .map(|page| checkout().join(page)),
    );
    let found = problems(&pages.iter().map(|page| page.as_path()).collect::<Vec<_>>());
    assert!(found.is_empty(), "{found:#?}");
}
