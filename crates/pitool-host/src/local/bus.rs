//! Questions to systemd's manager on its own socket, where no process has to be started for them.
//!
//! `systemctl show` fetches every property of a unit, one unit after the other; here only what is wanted is asked, all of
//! it at once, and the answers are read when they are needed. The messages are the D-Bus Specification's ("Authentication
//! Protocol", "Message Format"), the objects those of org.freedesktop.systemd1(5). The socket is root's: systemctl(1)
//! talks to it in the same way.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::UnitStatus;
use crate::parse::systemctl_show;
use crate::text::hex;

const SOCKET: &str = "/run/systemd/private";

/// What systemctl waits for an answer (sd_bus_get_method_call_timeout(3)).
const PATIENCE: Duration = Duration::from_secs(25);

/// The longest message that is read; answers have a few hundred bytes.
const LONGEST: usize = 1 << 20;

const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";

/// Properties that every unit has.
const OF_UNITS: [&str; 6] = [
    "LoadState",
    "ActiveState",
    "UnitFileState",
    "InvocationID",
    "NeedDaemonReload",
    "ActiveEnterTimestampMonotonic",
];

/// Types of messages and codes of header fields.
const CALL: u8 = 1;
const RETURN: u8 = 2;
const ERROR: u8 = 3;
const REPLY_SERIAL: u8 = 5;

/// Questions that were sent, and whose answers are on their way.
pub(super) struct Questions {
    stream: BufReader<UnixStream>,
    names: Vec<String>,
}

impl Questions {
    /// Sends the questions for these units.
    ///
    /// # Errors
    /// There is no such socket, it is not for us, or it does not speak as it should: systemctl is to be asked.
    pub(super) fn send(names: Vec<String>) -> io::Result<Self> {
        Self::over(UnixStream::connect(SOCKET)?, names)
    }

    fn over(stream: UnixStream, names: Vec<String>) -> io::Result<Self> {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut stream = BufReader::new(stream);
        let uid = nix::unistd::geteuid().to_string();
        let hex = hex(uid.as_bytes());
        stream.get_mut().write_all(format!("\0AUTH EXTERNAL {hex}\r\n").as_bytes())?;
        let mut answer = Vec::new();
        stream.by_ref().take(256).read_until(b'\n', &mut answer)?;
        if !answer.starts_with(b"OK ") {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut all = b"BEGIN\r\n".to_vec();
        for (serial, (name, interface, property)) in (1..).zip(wanted(&names)) {
            all.extend(get(serial, &object_path(name), interface, property));
        }
        stream.get_mut().write_all(&all)?;
        Ok(Self { stream, names })
    }

    /// Waits for the answers.
    ///
    /// # Errors
    /// The manager refuses one of them, takes too long, or does not speak as it should.
    pub(super) fn answers(mut self) -> io::Result<Vec<UnitStatus>> {
        let wanted: Vec<_> = wanted(&self.names).collect();
        let mut values: Vec<Option<String>> = vec![None; wanted.len()];
        let mut missing = wanted.len();
        while missing > 0 {
            let message = Message::read(&mut self.stream)?;
            let index = message.reply_to.and_then(|serial| usize::try_from(serial).ok()?.checked_sub(1));
            // What is no answer is a signal, which the manager sends to all who are connected.
            let Some(value) = index.and_then(|index| values.get_mut(index)) else { continue };
            if message.kind == ERROR {
                return Err(io::Error::other("systemd refuses to tell a property"));
            }
            missing -= usize::from(value.is_none());
            *value = Some(message.variant().ok_or(io::ErrorKind::InvalidData)?);
        }
        let mut answers = wanted.iter().zip(values);
        let of = |name: &String| {
            let count = properties(name).count();
            let of_unit = answers.by_ref().take(count).map(|((_, _, property), value)| (*property, value));
            let of_unit: Vec<_> =
                of_unit.map(|(property, value)| (property, value.unwrap_or_default())).collect();
            systemctl_show::unit(name, of_unit.iter().map(|(property, value)| (*property, value.as_str())))
        };
        Ok(self.names.iter().map(of).collect())
    }
}

/// Each question: the unit, the interface, the property.
fn wanted(names: &[String]) -> impl Iterator<Item = (&str, &'static str, &'static str)> {
    names.iter().flat_map(|name| {
        properties(name).map(move |(interface, property)| (name.as_str(), interface, property))
    })
}

fn properties(name: &str) -> impl Iterator<Item = (&'static str, &'static str)> + use<> {
    let of_services = name.ends_with(".service").then_some((SERVICE, "Type"));
    OF_UNITS.into_iter().map(|property| (UNIT, property)).chain(of_services)
}

/// A unit's object: what is not a letter or a digit is `_` and two hex digits, and a digit in front too
/// (sd_bus_path_encode(3)).
fn object_path(unit: &str) -> String {
    let mut path = "/org/freedesktop/systemd1/unit/".to_owned();
    for (index, byte) in unit.bytes().enumerate() {
        if byte.is_ascii_alphabetic() || (byte.is_ascii_digit() && index > 0) {
            path.push(char::from(byte));
        } else {
            path.push_str(&format!("_{byte:02x}"));
        }
    }
    path
}

/// A call of org.freedesktop.DBus.Properties.Get.
fn get(serial: u32, path: &str, interface: &str, property: &str) -> Vec<u8> {
    let mut fields = Vec::new();
    for (code, signature, value) in [
        (1, b'o', path),
        (2, b's', "org.freedesktop.DBus.Properties"),
        (3, b's', "Get"),
        (6, b's', "org.freedesktop.systemd1"),
    ] {
        pad(&mut fields, 8);
        fields.extend([code, 1, signature, 0]);
        push_string(&mut fields, value);
    }
    pad(&mut fields, 8);
    fields.extend([8, 1, b'g', 0, 2, b's', b's', 0]);
    let mut body = Vec::new();
    push_string(&mut body, interface);
    push_string(&mut body, property);
    let mut message = vec![b'l', CALL, 0, 1];
    for number in [length(&body), serial, length(&fields)] {
        message.extend(number.to_le_bytes());
    }
    message.extend(fields);
    pad(&mut message, 8);
    message.extend(body);
    message
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

fn pad(bytes: &mut Vec<u8>, to: usize) {
    bytes.resize(bytes.len().next_multiple_of(to), 0);
}

fn push_string(bytes: &mut Vec<u8>, text: &str) {
    pad(bytes, 4);
    bytes.extend(length(text.as_bytes()).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.push(0);
}

/// A message of the manager.
struct Message {
    kind: u8,
    reply_to: Option<u32>,
    body: Vec<u8>,
}

impl Message {
    fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut start = [0; 16];
        stream.read_exact(&mut start)?;
        let mut words = Words { bytes: &start, at: 4 };
        let (body, _serial, fields) = (words.number()?, words.number()?, words.number()?);
        let (body, fields) = (body as usize, fields as usize);
        // Another byte order than ours is another machine's.
        if start[0] != b'l' || start[3] != 1 || body.saturating_add(fields) > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut rest = vec![0; fields.next_multiple_of(8) + body];
        stream.read_exact(&mut rest)?;
        let body = rest.split_off(fields.next_multiple_of(8));
        rest.truncate(fields);
        Ok(Self { kind: start[1], reply_to: reply_to(&rest)?, body })
    }

    /// The value of an answer's variant, as systemctl(1) prints it; `None` for a type that no property of ours has.
    fn variant(&self) -> Option<String> {
        if self.kind != RETURN {
            return None;
        }
        let mut words = Words { bytes: &self.body, at: 0 };
        match words.signature().ok()? {
            b"s" => words.string().ok().map(str::to_owned),
            b"b" => words.number().ok().map(|yes| if yes == 0 { "no" } else { "yes" }.to_owned()),
            b"t" => {
                words.align(8);
                let bytes = words.take(8).ok()?.try_into().ok()?;
                Some(u64::from_le_bytes(bytes).to_string())
            }
            b"ay" => {
                let count = words.number().ok()?;
                let bytes = words.take(count as usize).ok()?;
                Some(hex(bytes))
            }
            _ => None,
        }
    }
}

/// The field that says which call is answered.
fn reply_to(fields: &[u8]) -> io::Result<Option<u32>> {
    let mut words = Words { bytes: fields, at: 0 };
    let mut reply_to = None;
    while words.at < fields.len() {
        words.align(8);
        let code = words.take(1)?[0];
        match words.signature()? {
            b"u" if code == REPLY_SERIAL => reply_to = Some(words.number()?),
            b"u" => drop(words.number()?),
            b"s" | b"o" => drop(words.string()?),
            b"g" => drop(words.signature()?),
            _ => return Err(io::ErrorKind::InvalidData.into()),
        }
    }
    Ok(reply_to)
}

/// Reads values that are aligned to their size, counted from the start.
struct Words<'b> {
    bytes: &'b [u8],
    at: usize,
}

impl<'b> Words<'b> {
    fn align(&mut self, to: usize) {
        self.at = self.at.next_multiple_of(to);
    }

    fn take(&mut self, count: usize) -> io::Result<&'b [u8]> {
        let end = self.at.saturating_add(count);
        let found = self.bytes.get(self.at..end).ok_or(io::ErrorKind::InvalidData)?;
        self.at = end;
        Ok(found)
    }

    fn number(&mut self) -> io::Result<u32> {
        self.align(4);
        let bytes = self.take(4)?.try_into().map_err(|_| io::ErrorKind::InvalidData)?;
        Ok(u32::from_le_bytes(bytes))
    }

    fn string(&mut self) -> io::Result<&'b str> {
        let count = self.number()?;
        let text = self.take(count as usize)?;
        self.take(1)?;
        std::str::from_utf8(text).map_err(|_| io::ErrorKind::InvalidData.into())
    }

    fn signature(&mut self) -> io::Result<&'b [u8]> {
        let count = self.take(1)?[0];
        let signature = self.take(usize::from(count))?;
        self.take(1)?;
        Ok(signature)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_have_the_paths_that_systemd_gives_them() {
        assert_eq!(object_path("ssh.service"), "/org/freedesktop/systemd1/unit/ssh_2eservice");
        assert_eq!(object_path("9p@a-b.mount"), "/org/freedesktop/systemd1/unit/_39p_40a_2db_2emount");
    }

    #[test]
    fn a_call_is_laid_out_as_the_specification_says() {
        let call = get(7, "/a", "b.c", "D");
        let mut words = Words { bytes: &call, at: 4 };
        let (body, serial, fields) =
            (words.number().unwrap(), words.number().unwrap(), words.number().unwrap());
        assert_eq!((&call[..4], serial), (&[b'l', 1, 0, 1][..], 7));
        assert_eq!(16 + (fields as usize).next_multiple_of(8) + body as usize, call.len());
        let mut words = Words { bytes: &call[call.len() - body as usize..], at: 0 };
        assert_eq!((words.string().unwrap(), words.string().unwrap()), ("b.c", "D"));
        let mut words = Words { bytes: &call[16..16 + fields as usize], at: 0 };
        let mut seen = Vec::new();
        while words.at < fields as usize {
            words.align(8);
            let code = words.take(1).unwrap()[0];
            let signature = words.signature().unwrap();
            let value = if signature == b"g" {
                words.signature().unwrap()
            } else {
                words.string().unwrap().as_bytes()
            };
            seen.push((code, String::from_utf8_lossy(value).into_owned()));
        }
        let expected = [
            (1, "/a"),
            (2, "org.freedesktop.DBus.Properties"),
            (3, "Get"),
            (6, "org.freedesktop.systemd1"),
            (8, "ss"),
        ];
        assert_eq!(seen, expected.map(|(code, value)| (code, value.to_owned())));
    }

    /// An answer with a variant, or another message.
    fn message(kind: u8, reply_to: u32, body: &[u8]) -> Vec<u8> {
        let mut fields = vec![REPLY_SERIAL, 1, b'u', 0];
        fields.extend(reply_to.to_le_bytes());
        // The sender, as a bus would add it.
        fields.extend([7, 1, b's', 0]);
        push_string(&mut fields, ":1.0");
        let mut message = vec![b'l', kind, 1, 1];
        for number in [length(body), 99, length(&fields)] {
            message.extend(number.to_le_bytes());
        }
        message.extend(fields);
        pad(&mut message, 8);
        message.extend(body);
        message
    }

    fn variant(signature: &str, value: &[u8], alignment: usize) -> Vec<u8> {
        let mut body = vec![signature.len() as u8];
        body.extend(signature.as_bytes());
        body.push(0);
        pad(&mut body, alignment);
        body.extend(value);
        body
    }

    fn string(text: &str) -> Vec<u8> {
        let mut value = Vec::new();
        push_string(&mut value, text);
        variant("s", &value, 4)
    }

    /// Plays the manager to a question for `a.service` and gives what came of it.
    fn told(messages: &[Vec<u8>]) -> io::Result<Vec<UnitStatus>> {
        let (ours, mut manager) = UnixStream::pair().unwrap();
        let asked =
            std::thread::spawn(move || Questions::over(ours, vec!["a.service".to_owned()])?.answers());
        let mut reader = BufReader::new(manager.try_clone().unwrap());
        let mut line = String::new();
        reader.read_line(&mut line).unwrap();
        assert!(line.starts_with("\0AUTH EXTERNAL "), "{line:?}");
        manager.write_all(b"OK 0123456789abcdef0123456789abcdef\r\n").unwrap();
        line.clear();
        reader.read_line(&mut line).unwrap();
        assert_eq!(line, "BEGIN\r\n");
        for _ in 0..7 {
            assert_eq!(Message::read(&mut reader).unwrap().kind, CALL);
        }
        manager.write_all(&messages.concat()).unwrap();
        drop((reader, manager));
        asked.join().unwrap()
    }

    fn answers() -> Vec<Vec<u8>> {
        let bodies = [
            string("loaded"),
            string("active"),
            string("enabled"),
            variant("ay", &[&2_u32.to_le_bytes()[..], &[0xAB, 1]].concat(), 4),
            variant("b", &1_u32.to_le_bytes(), 4),
            variant("t", &1234_u64.to_le_bytes(), 8),
            string("simple"),
        ];
        (1..).zip(bodies).map(|(serial, body)| message(RETURN, serial, &body)).collect()
    }

    #[test]
    fn answers_make_a_status_in_whatever_order_they_come() {
        let expected = UnitStatus {
            name: "a.service".to_owned(),
            exists: true,
            active: crate::ActiveState::Active,
            file_state: "enabled".to_owned(),
            invocation: "ab01".to_owned(),
            stale: true,
            unannounced: true,
            started: Some(1234),
        };
        assert_eq!(told(&answers()).unwrap().first(), Some(&expected));
        let mut others = answers();
        others.reverse();
        others.insert(2, message(4, 0, &[]));
        assert_eq!(told(&others).unwrap(), [expected]);
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        let broken = |change: fn(&mut Vec<Vec<u8>>)| {
            let mut messages = answers();
            change(&mut messages);
            told(&messages).unwrap_err().kind()
        };
        assert_eq!(broken(|all| drop(all.pop())), io::ErrorKind::UnexpectedEof);
        assert_eq!(broken(|all| all[3] = message(ERROR, 4, &[])), io::ErrorKind::Other);
        assert_eq!(
            broken(|all| all[3] = message(RETURN, 4, &variant("d", &[0; 8], 8))),
            io::ErrorKind::InvalidData
        );
        assert_eq!(broken(|all| all[0][0] = b'B'), io::ErrorKind::InvalidData);
        assert_eq!(broken(|all| all[0][7] = 0xFF), io::ErrorKind::InvalidData);
        assert_eq!(broken(|all| all[0].truncate(40)), io::ErrorKind::InvalidData);
    }
}
