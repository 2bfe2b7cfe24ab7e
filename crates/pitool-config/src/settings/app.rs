//! The web server and the apps behind it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::values::{
    AbsolutePath, AppName, Duration, EnvName, EnvValue, Port, ServerName, Size, UserName, Word,
};

/// The web server in front of the apps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct App {
    /// Whether nginx is installed, with a site that answers `/health`.
    pub enabled: bool,
}

impl Default for App {
    fn default() -> Self {
        Self { enabled: true }
    }
}

/// An app: a site of the web server with a user and a directory of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(default)]
pub struct Site {
    /// The host names under which the app is asked for. Where the list is empty, the app answers whatever name no other
    /// app has; only one app may.
    #[cfg_attr(test, schemars(example = serde_json::json!(["app.example.org"])))]
    pub server_name: Vec<ServerName>,
    /// Whether requests are passed on to a program on this machine.
    pub upstream: bool,
    /// The port on which that program listens. Two apps cannot have the same one.
    pub upstream_port: Port,
    /// The directory of static files that the web server hands out itself, such as `/opt/my_app/current`. None where
    /// unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/opt/my_app/current"))]
    pub root: Option<AbsolutePath>,
    /// The user who owns the app's files.
    pub user: UserName,
    /// That user's group. It is called as the user where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = &"appuser"))]
    pub group: Option<UserName>,
    /// The app's directory. It is `/opt/` and the app's name where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/opt/my_app"))]
    pub home: Option<AbsolutePath>,
    /// Whether the app's user is in the group `docker`, which means that the user can do everything that root can.
    pub docker: bool,
    /// Variables that are written to `config/.env` in the app's directory when it is made; the file is never overwritten.
    #[cfg_attr(test, schemars(example = serde_json::json!({ "LOG_LEVEL": "info" })))]
    pub env: BTreeMap<EnvName, EnvValue>,
    /// How large a request may be.
    pub body_size: Size,
    /// How long the web server waits for the program's answer.
    pub timeout: Duration,
    /// Whether websocket connections are passed on.
    pub websocket: bool,
    /// Where the app's Grist documents are. None where unset.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(example = "/opt/grist/data"))]
    pub grist_data_dir: Option<AbsolutePath>,
    /// What this machine is for the app, such as `"production"` or `"staging"`.
    pub deployment: Word,
    /// How many of the app's old log files are kept, one for each day.
    #[cfg_attr(test, schemars(range(min = 1)))]
    pub log_keep: u16,
}

impl Site {
    /// The group of the app's files: the user's own where none is set.
    pub fn group(&self) -> &UserName {
        self.group.as_ref().unwrap_or(&self.user)
    }

    /// The directory of the app with this name: `/opt/NAME` where none is set.
    pub fn home(&self, name: &AppName) -> AbsolutePath {
        self.home.clone().unwrap_or_else(|| AbsolutePath::home_of(name))
    }
}

impl Default for Site {
    fn default() -> Self {
        Self {
            server_name: Vec::new(),
            upstream: true,
            upstream_port: Port::APP,
            root: None,
            user: UserName::app(),
            group: None,
            home: None,
            docker: false,
            env: BTreeMap::new(),
            body_size: Size::from_mib(50),
            timeout: Duration::from_secs(60),
            websocket: true,
            grist_data_dir: None,
            deployment: Word::production(),
            log_keep: 7,
        }
    }
}
