//! The two recipes for Fly.io, as `fly.toml` and `fly.two-groups.toml` describe them.

use std::time::Duration;

use super::prices::{CoreKind, MachineSize};

/// App that the recipes name.
pub(super) const APP: &str = "autovalidate-trainer";

/// A recipe for Fly.io.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Recipe {
    /// One machine that does everything: `fly.toml`.
    OneMachine,
    /// A listener, and a trainer that the listener starts: `fly.two-groups.toml`.
    TwoGroups,
}

/// A process group of a recipe; each has one machine.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Group {
    pub(super) name: &'static str,
    pub(super) role: &'static str,
    pub(super) size: MachineSize,
    /// Value of `--exit-when-idle` in the recipe.
    pub(super) idle: Duration,
    /// Size of the volume.
    pub(super) volume_gb: u32,
}

const APP_GROUP: Group = Group {
    name: "app",
    role: "all",
    size: MachineSize { kind: CoreKind::Performance, cores: 1, memory_gb: 2.0 },
    idle: Duration::from_secs(30),
    volume_gb: 5,
};
const LISTENER: Group = Group {
    name: "listener",
    role: "listener",
    size: MachineSize { kind: CoreKind::Shared, cores: 1, memory_gb: 0.25 },
    idle: Duration::from_secs(30),
    volume_gb: 1,
};
const TRAINER: Group = Group {
    name: "trainer",
    role: "trainer",
    size: MachineSize { kind: CoreKind::Performance, cores: 2, memory_gb: 4.0 },
    idle: Duration::from_secs(30),
    volume_gb: 5,
};

impl Recipe {
    pub(super) const ALL: [Self; 2] = [Self::OneMachine, Self::TwoGroups];

    /// Returns the name that the command line uses.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::OneMachine => "one-machine",
            Self::TwoGroups => "two-groups",
        }
    }

    /// Returns the file that describes the recipe.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::OneMachine => "fly.toml",
            Self::TwoGroups => "fly.two-groups.toml",
        }
    }

    /// Returns the process groups. The first one has the broker, and the proxy starts it.
    pub(super) fn groups(self) -> &'static [Group] {
        match self {
            Self::OneMachine => &[APP_GROUP],
            Self::TwoGroups => &[LISTENER, TRAINER],
        }
    }

    /// Returns the group whose machine the proxy starts.
    pub(super) fn listener(self) -> &'static Group {
        match self {
            Self::OneMachine => &APP_GROUP,
            Self::TwoGroups => &LISTENER,
        }
    }

    /// Returns the price of a week of disk.
    pub(super) fn disk_per_week(self, machines_stop: bool) -> f64 {
        let groups = self.groups();
        let stopped = if machines_stop { groups.len() } else { 0 };
        super::prices::disk_per_week(groups.iter().map(|group| group.volume_gb).sum(), stopped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_groups_are_those_of_the_recipes_files() {
        for recipe in Recipe::ALL {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(recipe.file());
            let file: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
            assert_eq!(file["app"].as_str(), Some(APP));
            assert_eq!(file["primary_region"].as_str(), Some("fra"));
            assert_eq!(file["processes"].as_table().unwrap().len(), recipe.groups().len());
            for group in recipe.groups() {
                let section = |kind: &str| {
                    let of_group = |table: &&toml::Value| table["processes"][0].as_str() == Some(group.name);
                    file[kind].as_array().unwrap().iter().find(of_group).unwrap().clone()
                };
                let machine = section("vm");
                let memory = match group.size.memory_gb {
                    memory if memory < 1.0 => format!("{}mb", memory * 1024.0),
                    memory => format!("{memory}gb"),
                };
                assert_eq!(machine["memory"].as_str(), Some(&*memory));
                assert!(group.size.name().starts_with(machine["size"].as_str().unwrap()));
                let volume = format!("{}gb", group.volume_gb);
                assert_eq!(section("mounts")["initial_size"].as_str(), Some(&*volume));
                let start =
                    format!("worker --role {} --exit-when-idle {}s", group.role, group.idle.as_secs());
                assert!(file["processes"][group.name].as_str().unwrap().starts_with(&start));
            }
        }
    }
}
