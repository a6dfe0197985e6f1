//! Generates the gRPC code of the engine contract. The compiler is pure Rust, so no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    #[cfg(feature = "shell")]
    contract::generate()?;
    Ok(())
}

#[cfg(feature = "shell")]
mod contract {
    use std::path::PathBuf;

    const FILES: [&str; 6] = [
        "arioso/speech/v1alpha1/common.proto",
        "arioso/speech/v1alpha1/recognition.proto",
        "arioso/speech/v1alpha1/synthesis.proto",
        "arioso/speech/v1alpha1/dialog.proto",
        "arioso/speech/v1alpha1/conversation.proto",
        "arioso/speech/v1alpha1/catalog.proto",
    ];

    /// Writes `arioso.speech.v1alpha1.rs` and, for server reflection, the file descriptor set into `OUT_DIR`.
    pub(super) fn generate() -> Result<(), Box<dyn std::error::Error>> {
        let mut compiler = protox::Compiler::new(["proto"])?;
        // The comments of the contract become the documentation of the generated types.
        compiler.include_source_info(true).include_imports(true).open_files(FILES)?;

        let out_dir = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("OUT_DIR is set by cargo")?);
        std::fs::write(out_dir.join("contract.bin"), compiler.encode_file_descriptor_set())?;

        // Audio is passed on as it came, not copied: `Bytes` shares the buffer that was received.
        tonic_prost_build::configure()
            .bytes(".")
            .codec_path("crate::speech::codec::SmallBuffers")
            .compile_fds(compiler.file_descriptor_set())?;
        Ok(())
    }
}
