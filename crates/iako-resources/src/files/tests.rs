//! What is read of a directory, and what is passed over.

use std::{fs, path::Path};

use expect_test::{Expect, expect};

use super::load_directory;
use crate::ReadOptions;

/// Writes files, reads the directory, and compares what came of each.
fn check(files: &[(&str, &str)], expected: &Expect) {
    let directory = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    let mut lines = Vec::new();
    for content in load_directory(directory.path(), &ReadOptions::default()) {
        let name = Path::new(&*content.file).strip_prefix(directory.path()).unwrap().display();
        let kept: Vec<String> = content.resources.iter().map(|r| r.key().to_string()).collect();
        let problems: Vec<String> = content
            .diagnostics
            .iter()
            .map(|d| format!("{}:{} {}", d.origin.line, d.code, d.message))
            .collect();
        lines.push(format!("{name}: {kept:?} {:?} {problems:?}", content.passed));
    }
    expected.assert_eq(&format!("{}\n", lines.join("\n")));
}

const OBJECT: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";

#[test]
fn what_other_programs_render_is_passed_over() {
    check(
        &[
            ("chart/Chart.yaml", "apiVersion: v2\nname: shop\n"),
            ("chart/templates/web.yaml", "a: {{ .Values.a }}\n"),
            ("chart/values.yaml", "replicas: 2\non: yes\n"),
            ("chart/crds/a.yaml", OBJECT),
            (
                "loose/template.yaml",
                "apiVersion: v1\nkind: {{ .Kind }}\nmetadata:\n  name: {{ .Name }}\n",
            ),
            ("over/kustomization.yaml", "resources: [a.yaml]\npatches:\n- path: patch.yaml\n"),
            ("over/a.yaml", OBJECT),
            ("over/patch.yaml", "kind: Gateway\n"),
            ("other/workflow.yaml", "on: [push]\njobs: {}\n"),
            ("other/broken.yaml", "a: [1\nb: !!x {\n"),
            (
                "other/role.yaml",
                "apiVersion: rbac.authorization.k8s.io/v1\nkind: Role\nmetadata: {name: r}\n",
            ),
            (".hidden/a.yaml", OBJECT),
        ],
        &expect![[r#"
            chart/Chart.yaml: [] [(1, NotKubernetes)] []
            chart/crds/a.yaml: ["Namespace a"] [] []
            chart/templates: [] [(1, HelmTemplate)] []
            chart/values.yaml: [] [(1, NotKubernetes)] []
            loose/template.yaml: [] [(1, HelmTemplate)] []
            other/broken.yaml: [] [(1, NotKubernetes)] []
            other/role.yaml: [] [(1, OtherKind)] []
            other/workflow.yaml: [] [(1, NotKubernetes)] []
            over/a.yaml: ["Namespace a"] [] []
            over/kustomization.yaml: [] [(1, Kustomization)] []
            over/patch.yaml: [] [(1, Kustomization)] []
        "#]],
    );
}

#[test]
fn rules_of_inner_directories_count_more() {
    check(
        &[
            (".iakoignore", "# ours\n*.json\n/old/\n!keep.json\n"),
            ("a.json", "{}"),
            (
                "keep.json",
                "{\"apiVersion\": \"v1\", \"kind\": \"Namespace\", \"metadata\": {\"name\": \"k\"}}",
            ),
            ("old/a.yaml", OBJECT),
            ("in/old/a.yaml", OBJECT),
            ("in/.iakoignore", "a.yaml\n!b.json\n"),
            ("in/b.json", "{\"a\": 1}"),
        ],
        &expect![[r#"
            a.json: [] [(1, IgnoreFile)] []
            in/b.json: [] [(1, NotKubernetes)] []
            in/old/a.yaml: [] [(1, IgnoreFile)] []
            keep.json: ["Namespace k"] [] []
            old: [] [(1, IgnoreFile)] []
        "#]],
    );
}

#[test]
fn a_broken_document_hides_no_other() {
    check(
        &[(
            "a.yaml",
            "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n---\napiVersion: v1\nkind: [x\n---\napiVersion: v1\nkind: \
             Service\nmetadata: {name: s}\nspec: {ports: 5}\n---\napiVersion: v1\n  kind: Pod\n",
        )],
        &expect![[r#"
            a.yaml: ["Namespace a"] [] ["11:IAKO0021 expected a list, found the number 5", "6:IAKO0002 unclosed bracket '['", "14:IAKO0002 mapping values are not allowed in this context"]
        "#]],
    );
}
