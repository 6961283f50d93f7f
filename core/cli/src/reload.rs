//! SIGHUP: settings and the files that they name are read again, and what a running server can take
//! of them it takes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use clap::ArgMatches;
use futures_channel::oneshot;
use switchboard_core::config::{ClusterSecret, ConfigError};
use switchboard_core::settings::Reload;
use switchboard_driver::{Admission, Handle};
use switchboard_http::auth::JwtSettings;
use switchboard_http::{Api, ApiSettings};
use toml::Table;

use crate::assemble::{Parts, Secret, assemble};
use crate::complaints::Complaints;
use crate::failure::Failure;
use crate::load::{self, Loaded};
use crate::options::Serve;
use crate::signals::Signals;
use crate::stop::Stop;
use crate::tokens::Fetching;
use crate::{catalogue, logging};

/// What was given to the process, and what of it is in force.
pub(crate) struct Reloader {
    serve: Serve,
    matches: ArgMatches,
    force: Force,
}

/// A server that is running, with its API.
#[derive(Clone)]
pub(crate) struct Running {
    handle: Handle,
    api: Arc<Api>,
    /// How it is to stop: in force before the log says that it was taken.
    stop: Arc<Mutex<Stop>>,
}

/// What counts: the settings, and what stands in the files that some of them name.
#[derive(Clone, Debug)]
struct Force {
    settings: Table,
    jwt: Option<JwtSettings>,
    api: ApiSettings,
    cluster_secret: Option<ClusterSecret>,
}

/// Settings that say something else than before, by themselves or in their files.
#[derive(Debug, Default, PartialEq, Eq)]
struct Changes {
    taken: BTreeSet<&'static str>,
    /// They count once the process is started again.
    at_restart: BTreeSet<&'static str>,
}

/// Reads the settings again at each SIGHUP. What has to wait for anything does so on a thread of its
/// own, so that the signals that end the process are heard meanwhile.
pub(crate) async fn at_each_hangup<T>(
    reloader: Reloader,
    running: Running,
    signals: &Signals,
) -> T {
    let reloader = Arc::new(Mutex::new(reloader));
    loop {
        signals.hangup().await;
        let (reloader, running) = (Arc::clone(&reloader), running.clone());
        let (done, reloaded) = oneshot::channel();
        let reload = move || {
            let mut reloader = reloader.lock().unwrap_or_else(PoisonError::into_inner);
            reloader.reload(&running);
            // Nobody waits if the process ends.
            let _ = done.send(());
        };
        if let Err(error) = thread::Builder::new()
            .name("reload".to_owned())
            .spawn(reload)
        {
            tracing::error!(%error, "settings are not read again: there is no thread for it");
        }
        // It ends without a word if the thread could not be started, or has panicked.
        let _ = reloaded.await;
    }
}

impl Running {
    pub(crate) fn new(handle: Handle, api: Arc<Api>, stop: Stop) -> Self {
        let stop = Arc::new(Mutex::new(stop));
        Self { handle, api, stop }
    }

    /// How it is to stop at present.
    pub(crate) fn stop(&self) -> Stop {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_stop(&self, stop: Stop) {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner) = stop;
    }

    /// Changes who may come in: all of it, or nothing if something does not fit.
    fn admit(&self, admission: Admission, api: &ApiSettings) -> Result<(), ConfigError> {
        let access = api.access()?;
        self.handle.admit(admission)?;
        self.api.admit(access);
        Ok(())
    }
}

impl Reloader {
    /// Remembers what was given, and what it came to.
    pub(crate) fn new(serve: Serve, matches: ArgMatches, loaded: &Loaded, parts: &Parts) -> Self {
        Self {
            serve,
            matches,
            force: Force::of(loaded.tables.values(), parts),
        }
    }

    /// Reads the settings again and says what came of it.
    fn reload(&mut self, running: &Running) {
        match self.try_reload(running) {
            Ok(changes) => changes.tell(),
            Err(failure) => tracing::error!(
                error = %failure,
                "SIGHUP: the settings cannot be taken; what was in force stays in force"
            ),
        }
    }

    fn try_reload(&mut self, running: &Running) -> Result<Changes, Failure> {
        let loaded = load::load(&self.serve, &self.matches)?;
        let table = loaded.tables.values();
        let secret = self.force.secret(&table);
        let loaded = self.force.with_what_is_taken(loaded)?;
        let (stop, level) = (Stop::of(&loaded), loaded.tables.server.log_level);
        let before = Fetching::Awaited(self.force.jwt.as_ref());
        let parts = assemble(loaded, secret, before)?;
        let newest = Force::of(table, &parts);
        let changes = self.force.changes(&newest);
        let admission = Admission {
            authenticator: Some(parts.authenticator.clone()),
            origins: parts.settings.process.origins.clone(),
        };
        running
            .admit(admission, &parts.api)
            .map_err(|error| Failure::Start(parts.origins.complaint(&error)))?;
        parts.warn_if_open();
        logging::set_level(level);
        running.set_stop(stop);
        self.force.take(newest, &changes);
        Ok(changes)
    }
}

impl Force {
    fn of(settings: Table, parts: &Parts) -> Self {
        Self {
            settings,
            jwt: parts.jwt.clone(),
            api: parts.api.clone(),
            cluster_secret: parts.settings.cluster_secret.clone(),
        }
    }

    /// What counts once these settings were taken. What is safe depends on settings that are not taken,
    /// so that it is judged by those in force.
    fn with_what_is_taken(&self, newest: Loaded) -> Result<Loaded, Complaints> {
        let all = catalogue::settings().into_iter();
        let refused = all.filter(|setting| setting.reload == Reload::Refused);
        newest.keeping(&self.settings, refused.map(|setting| setting.name))
    }

    /// Where the cluster's secret is. Another file counts after a restart only, and the one in force may
    /// be gone.
    fn secret(&self, newest: &Table) -> Secret<impl Fn(&str) -> Option<String> + use<>> {
        const FILE: &str = "cluster_secret_file";
        match self.settings.get(FILE) == newest.get(FILE) {
            true => Secret::Read(|name: &str| std::env::var(name).ok()),
            false => Secret::Known(self.cluster_secret.clone()),
        }
    }

    fn changes(&self, newest: &Self) -> Changes {
        let mut changes = Changes::default();
        for setting in catalogue::settings() {
            let name = setting.name;
            let same_value = self.settings.get(name) == newest.settings.get(name);
            if same_value && self.has_same_content(newest, name) {
                continue;
            }
            let changed = match setting.reload {
                Reload::Taken => &mut changes.taken,
                Reload::Refused => &mut changes.at_restart,
            };
            changed.insert(name);
        }
        changes
    }

    /// Whether the file that a setting names has what it had.
    fn has_same_content(&self, newest: &Self, setting: &str) -> bool {
        let key = |force: &Self| force.jwt.as_ref().map(|jwt| jwt.key.clone());
        match setting {
            "api_key_file" => self.api.api_keys == newest.api.api_keys,
            "cluster_secret_file" => self.cluster_secret == newest.cluster_secret,
            "jwks_ca_file" | "jwks_file" | "jwt_public_key_file" | "jwt_secret_file"
                if newest.settings.contains_key(setting) =>
            {
                key(self) == key(newest)
            }
            _ => true,
        }
    }

    /// What was taken is in force; the rest stays a change until a restart.
    fn take(&mut self, newest: Self, changes: &Changes) {
        let before = std::mem::replace(self, newest);
        for setting in &changes.at_restart {
            match before.settings.get(*setting) {
                Some(value) => self.settings.insert((*setting).to_owned(), value.clone()),
                None => self.settings.remove(*setting),
            };
        }
        self.cluster_secret = before.cluster_secret;
    }
}

impl Changes {
    fn tell(&self) {
        let list = |settings: &BTreeSet<&'static str>| {
            let names: Vec<_> = settings.iter().copied().collect();
            names.join(", ")
        };
        if !self.taken.is_empty() {
            tracing::info!(
                taken = list(&self.taken),
                "SIGHUP: the settings were read again"
            );
        } else if self.at_restart.is_empty() {
            tracing::info!("SIGHUP: the settings were read again, and say what they said before");
        }
        if !self.at_restart.is_empty() {
            tracing::warn!(
                not_taken = list(&self.at_restart),
                "SIGHUP: these settings have changed, and count after a restart only"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::FromArgMatches as _;

    use super::*;

    #[test]
    fn what_is_not_taken_is_judged_as_it_is_in_force() {
        let load = |flags: &[&str]| {
            let arguments = ["switchboard", "serve"].iter().chain(flags);
            let matches = crate::command().get_matches_from(arguments);
            let serve = crate::of_command(&matches);
            let given = Serve::from_arg_matches(serve).expect("flags");
            load::load(&given, serve).expect("settings")
        };
        let before = load(&["--api=0.0.0.0:1", "--handshake-timeout=2s", "--name=one"]);
        let force = Force {
            settings: before.tables.values(),
            jwt: None,
            api: ApiSettings::default(),
            cluster_secret: None,
        };
        let newest = load(&["--peer=127.0.0.1:2", "--auth=open", "--jwks-timeout=4s"]);
        let judged = force.with_what_is_taken(newest.clone()).expect("settings");
        let (judges, before) = (&judged.tables, &before.tables);
        assert_eq!(judges.process, before.process);
        assert_eq!(judges.core, before.core);
        assert_eq!(judges.server.auth, newest.tables.server.auth);
        assert_eq!(judges.fetches, newest.tables.fetches);
        assert!(judged.origins.place("api").contains("at the start"));
        assert_eq!(judged.origins.place("auth"), "--auth");
        assert!(!judged.origins.place("lease").contains("at the start"));
    }

    #[test]
    fn a_change_that_needs_a_restart_is_one_until_then() {
        let force = |settings: &str, secret: &[u8]| Force {
            settings: settings.parse().expect("TOML"),
            jwt: None,
            api: ApiSettings::default(),
            cluster_secret: ClusterSecret::new(secret).ok(),
        };
        let (old, new) = (
            b"an old secret of the cluster",
            b"a new secret of the cluster!",
        );
        let mut current = force("lease = '10s'\nlog_level = 'info'\n", old);
        let newest = force("lease = '9s'\nlog_level = 'debug'\norigins = ['a']\n", new);

        let changes = current.changes(&newest);
        let at_restart = BTreeSet::from(["cluster_secret_file", "lease"]);
        assert_eq!(changes.taken, BTreeSet::from(["log_level", "origins"]));
        assert_eq!(changes.at_restart, at_restart);
        current.take(newest.clone(), &changes);

        let again = current.changes(&newest);
        assert_eq!(again.taken, BTreeSet::new());
        assert_eq!(again.at_restart, at_restart);
    }
}
