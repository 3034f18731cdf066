//! nginx as a peer: its configuration and the file it serves, in a folder that goes with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::load::BODY;
use crate::serve::Service;

/// The folder with nginx's configuration; removed when dropped.
pub(super) struct Folder(PathBuf);

impl Folder {
    /// Writes it: one worker, no access log, connections that stay for ever.
    pub(super) fn make() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("sluice-bench-nginx-{}", std::process::id()));
        let made = Self(path);
        let write = || -> std::io::Result<()> {
            fs::create_dir_all(made.0.join("www/bytes"))?;
            fs::write(made.0.join(format!("www/bytes/{BODY}")), vec![b'x'; BODY])?;
            fs::write(made.0.join("nginx.conf"), configuration(&made.0))
        };
        write().with_context(|| format!("nginx's folder {}", made.0.display()))?;
        Ok(made)
    }

    /// Has `command` run nginx on one CPU, in foreground.
    pub(super) fn start(&self, command: &mut Command, cpu: usize) {
        command.args(["--cpu-list", &cpu.to_string(), "nginx", "-e", "stderr"]);
        command.arg("-p").arg(&self.0).arg("-c").arg(self.0.join("nginx.conf"));
    }
}

fn configuration(folder: &Path) -> String {
    let (folder, port) = (folder.display(), Service::Http.port());
    format!(
        "daemon off;\nuser root;\nworker_processes 1;\npid {folder}/pid;\n\
         error_log stderr;\nevents {{ worker_connections 4096; }}\n\
         http {{\n access_log off;\n keepalive_requests 1000000000;\n open_file_cache max=16;\n \
         client_body_temp_path {folder}/1;\n proxy_temp_path {folder}/2;\n \
         fastcgi_temp_path {folder}/3;\n uwsgi_temp_path {folder}/4;\n scgi_temp_path {folder}/5;\n \
         server {{ listen {port}; root {folder}/www; }}\n}}\n"
    )
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
