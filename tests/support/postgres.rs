//! A real PostgreSQL with the roles and the publication of a Supabase project.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

/// A running server. Dropping it stops the server.
pub struct Postgres {
    bin: PathBuf,
    port: u16,
    folder: tempfile::TempDir,
}

/// Stand-ins for what a hosted project has.
const PROJECT: &str = concat!(include_str!("project_roles.sql"), include_str!("project.sql"));

impl Postgres {
    /// Starts a server on loopback, where a password or a certificate's key in `tls` is needed. Returns
    /// `None`, and says so, on a machine without PostgreSQL.
    pub fn start(tls: Option<(&Path, &Path)>) -> Option<Self> {
        let Some(bin) = programs() else {
            eprintln!("not tested: there is no PostgreSQL on this machine");
            return None;
        };
        let folder = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let server = Self { bin, port, folder };
        let path = server.folder.path().display().to_string();
        succeeded(Command::new("chown").args(["postgres", &path]).output().unwrap());
        let data = format!("{path}/data");
        std::fs::write(server.folder.path().join("password"), "s3cr3t-password\n").unwrap();
        let password = format!("--pwfile={path}/password");
        succeeded(
            server.run("initdb", &["-D", &data, "--auth=scram-sha-256", "--auth-local=trust", &password]),
        );
        let mut options =
            format!("-k {path} -p {port} -c listen_addresses=127.0.0.1 -c wal_level=logical -c fsync=off");
        if let Some((certificate, key)) = tls {
            for (file, name) in [(certificate, "server.crt"), (key, "server.key")] {
                let target = format!("{data}/{name}");
                std::fs::copy(file, &target).unwrap();
                succeeded(Command::new("chown").args(["postgres", &target]).output().unwrap());
                succeeded(Command::new("chmod").args(["600", &target]).output().unwrap());
            }
            options += " -c ssl=on";
            std::fs::write(
                format!("{data}/pg_hba.conf"),
                "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n",
            )
            .unwrap();
        }
        succeeded(
            server.run("pg_ctl", &["-D", &data, "-w", "-l", &format!("{path}/log"), "-o", &options, "start"]),
        );
        server.sql(PROJECT);
        Some(server)
    }

    /// Returns the URL of the server, without a password.
    pub fn url(&self) -> String {
        format!("postgres://postgres@localhost:{}/postgres", self.port)
    }

    /// Runs SQL as the owner, and returns what it prints.
    pub fn sql(&self, sql: &str) -> String {
        let (folder, port) = (self.folder.path().display().to_string(), self.port.to_string());
        let arguments = ["-h", &folder, "-p", &port, "-U", "postgres", "-v", "ON_ERROR_STOP=1", "-qAtc", sql];
        succeeded(self.run("psql", &arguments)).trim().to_owned()
    }

    /// Runs a program of PostgreSQL, which refuses to run as root.
    fn run(&self, program: &str, arguments: &[&str]) -> Output {
        let program = self.bin.join(program);
        let mut command = Command::new("runuser");
        command.args(["-u", "postgres", "--"]).arg(program);
        command.args(arguments).current_dir(self.folder.path()).output().unwrap()
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        let data = self.folder.path().join("data").display().to_string();
        let _ = self.run("pg_ctl", &["-D", &data, "-m", "immediate", "-w", "stop"]);
    }
}

#[track_caller]
fn succeeded(output: Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Returns the folder of PostgreSQL's programs, if this machine has them and a user to run them as.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let mut folders: Vec<PathBuf> = versions.flatten().map(|entry| entry.path().join("bin")).collect();
    folders.sort();
    folders.into_iter().rfind(|folder| nix::unistd::geteuid().is_root() && folder.join("initdb").is_file())
}
