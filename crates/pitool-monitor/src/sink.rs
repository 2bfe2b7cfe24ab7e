//! Where messages go: ntfy, a webhook, Slack, mail.

mod encode;
mod mail;
mod secret;
#[cfg(test)]
mod tests;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use pitool_config::settings::{Alerts, Mail, Ntfy, Slack, Webhook};
use pitool_config::values::{AbsolutePath, Url};
use serde_json::json;

pub(crate) use secret::secret;

use encode::encoded_word;

use crate::alert::message::{Message, What};
use crate::finding::Level;
use crate::web;

/// A way to tell somebody.
#[derive(Clone, Debug)]
pub enum Sink {
    /// A push message.
    Ntfy(Ntfy),
    /// A request.
    Webhook(Webhook),
    /// A message in a channel.
    Slack(Slack),
    /// A mail.
    Mail(Mail),
}

impl Sink {
    /// Every sink of the config.
    pub fn all(alerts: &Alerts) -> Vec<Self> {
        let sink = |name: &str| match name {
            "ntfy" => Some(Self::Ntfy(alerts.ntfy.clone())),
            "webhook" => Some(Self::Webhook(alerts.webhook.clone())),
            "slack" => Some(Self::Slack(alerts.slack.clone())),
            "mail" => Some(Self::Mail(alerts.mail.clone())),
            _ => None,
        };
        alerts.sinks().into_iter().filter_map(sink).collect()
    }

    /// Its name, as in the config.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Ntfy(_) => "ntfy",
            Self::Webhook(_) => "webhook",
            Self::Slack(_) => "slack",
            Self::Mail(_) => "mail",
        }
    }

    /// Tells.
    ///
    /// # Errors
    /// It was not taken; the words say why and hold no secret.
    pub fn send(&self, message: &Message, now: Timestamp, zone: &TimeZone) -> Result<(), String> {
        let body = message.body(now, zone);
        match self {
            Self::Ntfy(ntfy) => send_ntfy(ntfy, message, &body),
            Self::Webhook(webhook) => send_webhook(webhook, message, &body),
            Self::Slack(slack) => {
                let url = address(None, slack.url_file.as_ref())?;
                // Slack's own escapes: only these three mean something to it.
                let escaped =
                    |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
                let text = format!("{} *{}*\n{}", sign(message), escaped(&message.title), escaped(&body));
                let body = json!({ "text": text }).to_string();
                web::post(&url, &[("Content-Type", "application/json")], body.as_bytes())
            }
            Self::Mail(mail) => mail::send(mail, message, &body, now),
        }
    }
}

/// The address, from the config or from the file that holds it.
fn address(url: Option<&Url>, file: Option<&AbsolutePath>) -> Result<String, String> {
    match (url, file) {
        (_, Some(file)) => {
            let url = secret(file)?;
            if url.starts_with("https://") || url.starts_with("http://") {
                return Ok(url);
            }
            Err(format!("{file} holds no address that begins with https://"))
        }
        (Some(url), None) => Ok(url.to_string()),
        (None, None) => Err("neither `url` nor `url_file` is set".to_owned()),
    }
}

fn sign(message: &Message) -> &'static str {
    match (message.what, message.level) {
        (What::Test, _) => "🔔",
        (_, Level::Ok) => "✅",
        (_, Level::Fail) => "🔴",
        _ => "🟡",
    }
}

fn send_ntfy(ntfy: &Ntfy, message: &Message, body: &str) -> Result<(), String> {
    let url = address(ntfy.url.as_ref(), ntfy.url_file.as_ref())?;
    let bearer = ntfy.token_file.as_ref().map(secret).transpose()?.map(|token| format!("Bearer {token}"));
    let title = encoded_word(&message.title);
    let (priority, tags) = match (message.what, message.level) {
        (What::Test, _) => ("default", "bell"),
        (_, Level::Ok) => ("low", "white_check_mark"),
        (_, Level::Fail) => ("high", "rotating_light"),
        _ => ("default", "warning"),
    };
    let mut headers = vec![("Title", title.as_str()), ("Priority", priority), ("Tags", tags)];
    headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
    web::post(&url, &headers, body.as_bytes())
}

fn send_webhook(webhook: &Webhook, message: &Message, body: &str) -> Result<(), String> {
    let url = address(webhook.url.as_ref(), webhook.url_file.as_ref())?;
    let bearer = webhook.token_file.as_ref().map(secret).transpose()?.map(|token| format!("Bearer {token}"));
    let text = match &webhook.body {
        Some(template) => filled(template.as_str(), message, body),
        None => json!({
            "version": 1,
            "what": message.what,
            "host": message.host,
            "check": message.id,
            "level": message.level,
            "title": message.title,
            "text": body,
            "value": message.value,
            "hint": message.hint,
            "time": message.time.to_string(),
            "since": message.since.to_string(),
        })
        .to_string(),
    };
    let mut headers = vec![("Content-Type", webhook.content_type.as_str())];
    headers.extend(bearer.as_deref().map(|bearer| ("Authorization", bearer)));
    web::post(&url, &headers, text.as_bytes())
}

/// Fills a template in one pass, so that nothing in a value is taken for a place.
fn filled(template: &str, message: &Message, body: &str) -> String {
    let quoted = |text: &str| {
        let json = json!(text).to_string();
        json[1..json.len() - 1].to_owned()
    };
    let mut filled = String::new();
    let mut rest = template;
    while let Some(open) = rest.find('{') {
        filled.push_str(&rest[..open]);
        rest = &rest[open..];
        let close = rest.find('}');
        let value = match close.map(|close| &rest[1..close]) {
            Some("title") => Some(quoted(&message.title)),
            Some("text") => Some(quoted(body)),
            Some("host") => Some(quoted(&message.host)),
            Some("check") => Some(quoted(&message.id)),
            Some("level") => Some(message.level.word().to_owned()),
            Some("time") => Some(message.time.to_string()),
            Some("value") => Some(quoted(&message.value)),
            Some("hint") => Some(quoted(&message.hint)),
            // A brace of JSON's own.
            _ => None,
        };
        match (value, close) {
            (Some(value), Some(close)) => {
                filled.push_str(&value);
                rest = &rest[close + 1..];
            }
            _ => {
                filled.push('{');
                rest = &rest[1..];
            }
        }
    }
    filled.push_str(rest);
    filled
}
