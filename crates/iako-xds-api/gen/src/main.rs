//! Regenerates `iako-xds-api`: runs protoc over the roots in `roots.txt`, strips what code
//! generation and reflection do not need, and writes the Rust modules and the descriptor set.
//! How to run it: `../README.md`.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use flate2::{Compression, GzBuilder};
use prost::Message as _;
use prost_types::{DescriptorProto, EnumDescriptorProto, FileDescriptorSet};

/// Files that only declare options. Their imports go away together with the options.
const OPTION_FILES: &[&str] = &[
    "validate/",
    "udpa/annotations/",
    "xds/annotations/",
    "envoy/annotations/",
    "google/api/annotations.proto",
    "google/api/http.proto",
    "google/protobuf/descriptor.proto",
];

/// Services that get a client and a server.
const SERVICES: &[&str] = &[
    "AggregatedDiscoveryService",
    "IstioCertificateService",
    "Authorization",
    "ExternalProcessor",
    "RateLimitService",
    "AccessLogService",
    "OpenRcaService",
    "Health",
    "TraceService",
    "LogsService",
];

fn main() -> Result<(), Box<dyn Error>> {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    let crate_dir = here.parent().ok_or("gen/ has no parent")?.to_path_buf();
    let set = strip(FileDescriptorSet::decode(run_protoc(&here)?.as_slice())?);
    write_descriptors(&crate_dir.join("src/descriptors.bin.gz"), &set)?;
    write_rust(&crate_dir.join("src"), set)
}

/// The schema directories inside the unpacked `envoy-types` crate.
fn schema_dirs(here: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let cargo_home = std::env::var("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|_| std::env::var("HOME").map(|home| PathBuf::from(home).join(".cargo")))?;
    let status = Command::new("cargo").arg("fetch").current_dir(here).status()?;
    if !status.success() {
        return Err("cargo fetch failed".into());
    }
    for registry in fs::read_dir(cargo_home.join("registry/src"))? {
        let root = registry?.path().join("envoy-types-0.7.7/proto");
        if root.is_dir() {
            return Ok([
                "data-plane-api",
                "xds",
                "googleapis",
                "protoc-gen-validate",
                "cel-spec/proto",
                "opentelemetry-proto",
                "client_model",
            ]
            .iter()
            .map(|dir| root.join(dir))
            .collect());
        }
    }
    Err("the schemas are not in cargo's source cache".into())
}

fn run_protoc(here: &Path) -> Result<Vec<u8>, Box<dyn Error>> {
    let protoc = std::env::var("PROTOC").unwrap_or_else(|_| "protoc".to_owned());
    let mut words = protoc.split_whitespace();
    let out = std::env::temp_dir().join(format!("iako-xds-{}.fds", std::process::id()));
    let mut command = Command::new(words.next().ok_or("PROTOC is empty")?);
    command.args(words).arg("-I").arg(here.join("proto"));
    for dir in schema_dirs(here)? {
        command.arg("-I").arg(dir);
    }
    if let Ok(include) = std::env::var("PROTOC_INCLUDE") {
        command.arg("-I").arg(include);
    }
    command.arg("--include_imports").arg(format!("--descriptor_set_out={}", out.display()));
    command
        .args(fs::read_to_string(here.join("roots.txt"))?.lines().filter(|line| !line.is_empty()));
    if !command.status()?.success() {
        return Err("protoc failed".into());
    }
    let bytes = fs::read(&out)?;
    fs::remove_file(&out)?;
    Ok(bytes)
}

/// Drops comments, custom options (decoding without their extensions already lost them), the
/// files that declare them, and services nobody calls.
fn strip(mut set: FileDescriptorSet) -> FileDescriptorSet {
    let option_file = |name: &str| OPTION_FILES.iter().any(|prefix| name.starts_with(prefix));
    set.file.retain(|file| !option_file(file.name()));
    let kept: BTreeSet<String> = set.file.iter().map(|file| file.name().to_owned()).collect();
    for file in &mut set.file {
        file.source_code_info = None;
        file.options = None;
        file.dependency.retain(|dependency| kept.contains(dependency));
        file.public_dependency.clear();
        file.weak_dependency.clear();
        file.service.retain(|service| SERVICES.contains(&service.name()));
        file.extension.clear();
        file.message_type.iter_mut().for_each(forget_deprecation);
        file.enum_type.iter_mut().for_each(forget_enum_deprecation);
    }
    set
}

/// Old fields are in use and are read on purpose, so that the compiler must not warn of them.
fn forget_deprecation(message: &mut DescriptorProto) {
    for field in &mut message.field {
        field.options = None;
    }
    if let Some(options) = &mut message.options {
        options.deprecated = None;
    }
    message.nested_type.iter_mut().for_each(forget_deprecation);
    message.enum_type.iter_mut().for_each(forget_enum_deprecation);
}

fn forget_enum_deprecation(descriptor: &mut EnumDescriptorProto) {
    for value in &mut descriptor.value {
        value.options = None;
    }
}

fn write_descriptors(path: &Path, set: &FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    let mut gz = GzBuilder::new().mtime(0).write(Vec::new(), Compression::best());
    gz.write_all(&set.encode_to_vec())?;
    fs::write(path, gz.finish()?)?;
    Ok(())
}

fn write_rust(src: &Path, set: FileDescriptorSet) -> Result<(), Box<dyn Error>> {
    let out = src.join("generated");
    if out.is_dir() {
        fs::remove_dir_all(&out)?;
    }
    fs::create_dir_all(&out)?;
    let mut config = prost_build::Config::new();
    config.out_dir(&out).include_file("tree.rs").bytes(["."]);
    // The same message always encodes to the same bytes, so that versions can be hashes.
    config.btree_map(["."]);
    config.enable_type_names().type_name_domain(["."], "type.googleapis.com");
    tonic_prost_build::configure()
        .build_transport(false)
        .out_dir(&out)
        .compile_fds_with_config(set, config)?;
    let tree = fs::read_to_string(out.join("tree.rs"))?;
    fs::remove_file(out.join("tree.rs"))?;
    fs::write(src.join("generated.rs"), tree.replace("include!(\"", "include!(\"generated/"))?;
    Ok(())
}
