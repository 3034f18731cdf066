//! `getsockopt` and `setsockopt`.

use super::clock::Library;
use super::info::tcp_info;
use super::open::FOREVER;
use super::socket::{Phase, Role, Set, Socket};
use super::world::World;
use super::{Answer, Errno};
use crate::tcp::congestion::Algorithm;
use crate::tcp::{KeepAlive, Setting, SettingError};
use crate::time::Duration;

impl Library {
    /// `getsockopt`: the bytes of the value, of which the caller takes as many as it asked for.
    pub(super) fn option(&self, fd: i32, level: i32, name: i32) -> Answer<Vec<u8>> {
        self.call(|world| world.option(fd, level, name))
    }

    /// `setsockopt`.
    pub(super) fn set_option(&self, fd: i32, level: i32, name: i32, value: &[u8]) -> Answer<()> {
        self.call(|world| world.set_option(fd, level, name, value))
    }
}

impl World {
    fn option(&mut self, fd: i32, level: i32, name: i32) -> Answer<Vec<u8>> {
        let (mtu, defaults, tcp) =
            (self.flags.mtu, self.flags.defaults.clone(), self.flags.tcp.clone());
        let socket = self.socket_mut(fd)?;
        let set = &socket.set;
        let number = match (level, name) {
            (libc::SOL_SOCKET, libc::SO_ERROR) => socket.take_error().map_or(0, |error| error.0),
            (libc::SOL_SOCKET, libc::SO_TYPE) => libc::SOCK_STREAM,
            (libc::SOL_SOCKET, libc::SO_PROTOCOL) => libc::IPPROTO_TCP,
            (libc::SOL_SOCKET, libc::SO_DOMAIN) if socket.is_v6 => libc::AF_INET6,
            (libc::SOL_SOCKET, libc::SO_DOMAIN) => libc::AF_INET,
            (libc::SOL_SOCKET, libc::SO_ACCEPTCONN) => {
                i32::from(matches!(socket.role, Role::Listening(_)))
            }
            (libc::SOL_SOCKET, libc::SO_REUSEADDR) => set.reuse_addr.into(),
            (libc::SOL_SOCKET, libc::SO_REUSEPORT) => set.reuse_port.into(),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE) => set.keepalive.into(),
            (libc::SOL_SOCKET, libc::SO_OOBINLINE) => set.oob_inline.into(),
            (libc::SOL_SOCKET, libc::SO_RCVLOWAT) => set.receive_lowat.max(1),
            (libc::SOL_SOCKET, libc::SO_SNDLOWAT) => 1,
            (libc::SOL_SOCKET, libc::SO_RCVBUF) => {
                set.receive_buffer.unwrap_or(defaults.receive_buffer) as i32
            }
            (libc::SOL_SOCKET, libc::SO_SNDBUF) => {
                set.send_buffer.unwrap_or(defaults.send_buffer) as i32
            }
            (libc::SOL_SOCKET, libc::SO_LINGER) => {
                let (is_on, seconds) = set.linger;
                return Ok([i32::from(is_on).to_ne_bytes(), seconds.to_ne_bytes()].concat());
            }
            (libc::SOL_SOCKET, libc::SO_RCVTIMEO) => return Ok(timeval(set.receive_timeout)),
            (libc::SOL_SOCKET, libc::SO_SNDTIMEO) => return Ok(timeval(set.send_timeout)),
            (libc::IPPROTO_TCP, libc::TCP_INFO) => return Ok(tcp_info(socket, mtu)),
            // Linux has nothing to tell of these algorithms.
            (libc::IPPROTO_TCP, libc::TCP_CC_INFO) => return Ok(Vec::new()),
            (libc::SOL_SOCKET, libc::SO_MEMINFO) => return Ok(memory_info(socket, &defaults)),
            (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => {
                let name = set.congestion.unwrap_or(tcp.congestion.name());
                let mut bytes = name.as_bytes().to_vec();
                bytes.resize(CONGESTION_NAME, 0);
                return Ok(bytes);
            }
            (libc::IPPROTO_TCP, _) => tcp_number(socket, &tcp, name)?,
            (libc::IPPROTO_IP, libc::IP_TOS) => set.traffic_class.into(),
            (libc::IPPROTO_IP, libc::IP_TTL) => set.hop_limit.unwrap_or(tcp.hop_limit).into(),
            (libc::IPPROTO_IP, libc::IP_MTU) => match socket.role {
                Role::Connection { .. } => mtu.into(),
                _ => return Err(Errno(libc::ENOTCONN)),
            },
            _ => plain(set, level, name)?,
        };
        Ok(number.to_ne_bytes().to_vec())
    }

    fn set_option(&mut self, fd: i32, level: i32, name: i32, value: &[u8]) -> Answer<()> {
        self.socket(fd)?;
        match (level, name) {
            (libc::SOL_SOCKET, libc::SO_RCVTIMEO) => {
                self.socket_mut(fd)?.set.receive_timeout = millis(value)?;
                return Ok(());
            }
            (libc::SOL_SOCKET, libc::SO_SNDTIMEO) => {
                self.socket_mut(fd)?.set.send_timeout = millis(value)?;
                return Ok(());
            }
            (libc::IPPROTO_TCP, libc::TCP_CONGESTION) => return self.set_congestion(fd, value),
            (libc::SOL_SOCKET, libc::SO_LINGER) => {
                let (is_on, seconds) = (int(value)?, int(value.get(4..).unwrap_or(&[]))?);
                self.socket_mut(fd)?.set.linger = (is_on != 0, seconds);
                let time = Duration::from_secs(seconds.clamp(0, MOST_LINGER) as u64);
                return self.apply(fd, Setting::Linger((is_on != 0).then_some(time)));
            }
            _ => {}
        }
        // IP's options are a byte wide too.
        let number = match (level, value) {
            (libc::IPPROTO_IP, [byte, ..]) if value.len() < 4 => i32::from(*byte),
            _ => int(value)?,
        };
        match level {
            libc::SOL_SOCKET => self.set_socket_option(fd, name, number),
            libc::IPPROTO_TCP => self.set_tcp_option(fd, name, number),
            _ => self.set_ip_option(fd, (level, name), number),
        }
    }

    fn set_congestion(&mut self, fd: i32, value: &[u8]) -> Answer<()> {
        let name = value.split(|byte| *byte == 0).next().unwrap_or(&[]);
        let algorithm = core::str::from_utf8(name).ok().and_then(Algorithm::named);
        let algorithm = algorithm.ok_or(Errno(libc::ENOENT))?;
        self.apply(fd, Setting::Congestion(algorithm))?;
        self.socket_mut(fd)?.set.congestion = Some(algorithm.name());
        Ok(())
    }

    fn set_socket_option(&mut self, fd: i32, name: i32, number: i32) -> Answer<()> {
        let is_on = number != 0;
        let set = &mut self.socket_mut(fd)?.set;
        match name {
            libc::SO_REUSEADDR => set.reuse_addr = is_on,
            libc::SO_REUSEPORT => set.reuse_port = is_on,
            libc::SO_OOBINLINE => set.oob_inline = is_on,
            libc::SO_RCVLOWAT => set.receive_lowat = if number < 0 { i32::MAX } else { number },
            libc::SO_KEEPALIVE => {
                set.keepalive = is_on;
                return self.apply_keepalive(fd);
            }
            libc::SO_RCVBUF | libc::SO_RCVBUFFORCE => {
                let asked = bounded(number, name == libc::SO_RCVBUFFORCE);
                set.receive_buffer = Some(asked.saturating_mul(2).max(LEAST_RECEIVE_BUFFER));
                return self.apply_window(fd);
            }
            libc::SO_SNDBUF | libc::SO_SNDBUFFORCE => {
                let asked = bounded(number, name == libc::SO_SNDBUFFORCE);
                let octets = asked.saturating_mul(2).max(LEAST_SEND_BUFFER);
                set.send_buffer = Some(octets);
                return self.apply(fd, Setting::SendBuffer(octets));
            }
            libc::SO_PRIORITY | libc::SO_MARK | libc::SO_BROADCAST | libc::SO_DONTROUTE => {
                // They steer routing and queues, of which there are none here.
                set.plain.retain(|(key, _)| *key != (libc::SOL_SOCKET, name));
                set.plain.push(((libc::SOL_SOCKET, name), number));
            }
            libc::SO_TYPE
            | libc::SO_ERROR
            | libc::SO_PROTOCOL
            | libc::SO_DOMAIN
            | libc::SO_ACCEPTCONN
            | libc::SO_SNDLOWAT => return Err(Errno(libc::ENOPROTOOPT)),
            _ => return Err(Errno(libc::EOPNOTSUPP)),
        }
        Ok(())
    }

    fn set_tcp_option(&mut self, fd: i32, name: i32, number: i32) -> Answer<()> {
        let is_on = number != 0;
        let within = |range: core::ops::RangeInclusive<i32>| {
            if range.contains(&number) { Ok(number) } else { Err(Errno(libc::EINVAL)) }
        };
        let socket = self.socket_mut(fd)?;
        let set = &mut socket.set;
        match name {
            libc::TCP_NODELAY => {
                set.nodelay = is_on;
                self.apply(fd, Setting::NoDelay(is_on))
            }
            libc::TCP_CORK => {
                set.cork = is_on;
                self.apply(fd, Setting::Cork(is_on))
            }
            libc::TCP_QUICKACK => {
                set.is_quick = Some(is_on);
                self.apply(fd, Setting::QuickAck(is_on))
            }
            libc::TCP_MAXSEG => {
                let octets = within(88..=32_767)? as u16;
                set.max_segment = Some(octets);
                self.apply(fd, Setting::MaxSegment(octets))
            }
            libc::TCP_KEEPIDLE => {
                set.keep_idle = Some(within(1..=32_767)?);
                self.apply_keepalive(fd)
            }
            libc::TCP_KEEPINTVL => {
                set.keep_interval = Some(within(1..=32_767)?);
                self.apply_keepalive(fd)
            }
            libc::TCP_KEEPCNT => {
                set.keep_count = Some(within(1..=127)?);
                self.apply_keepalive(fd)
            }
            libc::TCP_USER_TIMEOUT => {
                set.user_timeout = within(0..=i32::MAX)? as u32;
                let time = Duration::from_millis(set.user_timeout.into());
                self.apply(fd, Setting::UserTimeout(is_on.then_some(time)))
            }
            libc::TCP_DEFER_ACCEPT => {
                set.defer_accept = number.max(0);
                let time = Duration::from_secs(set.defer_accept as u64);
                let time = Some(time).filter(|time| !time.is_zero());
                if let Role::Listening(id) = socket.role {
                    self.shard.change_listener(id, |listener| listener.defers_accept = time);
                }
                Ok(())
            }
            libc::TCP_SYNCNT => {
                let count = within(1..=127)? as u8;
                set.syn_count = Some(count);
                self.apply(fd, Setting::SynRetries(count))
            }
            libc::TCP_LINGER2 => {
                set.linger2 = Some(number);
                let time = Duration::from_secs(number.clamp(0, 120) as u64);
                self.apply(fd, Setting::FinWait2((number > 0).then_some(time)))
            }
            libc::TCP_WINDOW_CLAMP => {
                if number == 0 && socket.role != Role::Fresh {
                    return Err(Errno(libc::EINVAL));
                }
                let least = LEAST_RECEIVE_BUFFER / 2;
                set.window_clamp = if number == 0 { 0 } else { (number as u32).max(least) };
                self.apply_window(fd)
            }
            libc::TCP_NOTSENT_LOWAT => {
                set.notsent_lowat = number as u32;
                socket.is_short = true;
                Ok(())
            }
            TCP_INQ => {
                set.inq = within(0..=1)? == 1;
                Ok(())
            }
            _ => Err(Errno(libc::EOPNOTSUPP)),
        }
    }

    fn set_ip_option(&mut self, fd: i32, key: (i32, i32), number: i32) -> Answer<()> {
        let is_possible = match key {
            (libc::IPPROTO_IP, libc::IP_TOS) => {
                // ECN's bits belong to TCP.
                let octet = number as u8 & !ECN_BITS;
                self.socket_mut(fd)?.set.traffic_class = octet;
                return self.apply(fd, Setting::TrafficClass(octet));
            }
            (libc::IPPROTO_IP, libc::IP_TTL) => {
                let hops = match number {
                    -1 => self.flags.tcp.hop_limit,
                    1..=255 => number as u8,
                    _ => return Err(Errno(libc::EINVAL)),
                };
                self.socket_mut(fd)?.set.hop_limit = Some(hops);
                return self.apply(fd, Setting::HopLimit(hops));
            }
            // Every packet of ours carries DF.
            (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER) => {
                matches!(number, libc::IP_PMTUDISC_WANT | libc::IP_PMTUDISC_DO)
            }
            (libc::IPPROTO_IP, libc::IP_FREEBIND) => true,
            (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => number == 0,
            _ => false,
        };
        if !is_possible {
            return Err(Errno(libc::EOPNOTSUPP));
        }
        let set = &mut self.socket_mut(fd)?.set;
        set.plain.retain(|(other, _)| *other != key);
        set.plain.push((key, number));
        Ok(())
    }

    /// Tells the connection, if there is one; one to come is told by [`World::settings_of`].
    fn apply(&mut self, fd: i32, setting: Setting) -> Answer<()> {
        let limits = &self.flags.tcp;
        let refused = |error: SettingError| match error {
            SettingError::Closed => Errno(libc::ENOTCONN),
            SettingError::OutOfRange(_) => Errno(libc::EINVAL),
        };
        let socket = self.socket(fd)?;
        match socket.role {
            Role::Connection { phase: Phase::Over, .. } => Ok(()),
            Role::Connection { id, .. } => {
                self.with(id, |conn| conn.configure(setting)).unwrap_or(Ok(())).map_err(refused)
            }
            Role::Fresh => setting.check(limits).map_err(refused),
            // Linux's children take what the listener has when they come.
            Role::Listening(id) => {
                setting.check(limits).map_err(refused)?;
                let settings = self.settings_of(fd)?;
                self.shard.change_listener(id, |listener| listener.settings = settings.into());
                Ok(())
            }
        }
    }

    fn apply_keepalive(&mut self, fd: i32) -> Answer<()> {
        let setting = self.keepalive_of(&self.socket(fd)?.set);
        self.apply(fd, setting)
    }

    fn keepalive_of(&self, set: &Set) -> Setting {
        let times = self.flags.tcp.keepalive_times;
        let seconds = |set: Option<i32>, default: Duration| {
            set.map_or(default, |seconds| Duration::from_secs(seconds as u64))
        };
        let keepalive = KeepAlive {
            idle: seconds(set.keep_idle, times.idle),
            interval: seconds(set.keep_interval, times.interval),
            count: set.keep_count.map_or(times.count, |count| count as u8),
        };
        Setting::KeepAlive(set.keepalive.then_some(keepalive))
    }

    fn apply_window(&mut self, fd: i32) -> Answer<()> {
        let window = self.window_of(&self.socket(fd)?.set);
        window.map_or(Ok(()), |window| self.apply(fd, Setting::ReceiveBuffer(window)))
    }

    /// The window that a socket's own buffer and clamp allow: Linux counts half of the buffer as
    /// overhead.
    fn window_of(&self, set: &Set) -> Option<u32> {
        let window = set.receive_buffer.map(|octets| octets / 2);
        let clamp = Some(set.window_clamp).filter(|clamp| *clamp > 0);
        let window = window.into_iter().chain(clamp).min()?;
        Some(window.clamp(LEAST_RECEIVE_BUFFER, self.flags.tcp.max_receive_window))
    }

    /// What the connections of a socket begin with.
    pub(super) fn settings_of(&self, fd: i32) -> Answer<Vec<Setting>> {
        let set = &self.socket(fd)?.set;
        let mut settings = Vec::new();
        let send_buffer = set.send_buffer.unwrap_or(self.flags.defaults.send_buffer);
        settings.push(Setting::SendBuffer(send_buffer.min(self.flags.tcp.max_send_buffer)));
        settings.extend(self.window_of(set).map(Setting::ReceiveBuffer));
        settings.extend(set.max_segment.map(Setting::MaxSegment));
        settings.extend(set.nodelay.then_some(Setting::NoDelay(true)));
        settings.extend(set.cork.then_some(Setting::Cork(true)));
        settings.extend(set.is_quick.map(Setting::QuickAck));
        settings.extend(set.keepalive.then(|| self.keepalive_of(set)));
        settings.extend(set.syn_count.map(Setting::SynRetries));
        if set.traffic_class != 0 {
            settings.push(Setting::TrafficClass(set.traffic_class));
        }
        settings.extend(set.hop_limit.map(Setting::HopLimit));
        settings.extend(set.congestion.and_then(Algorithm::named).map(Setting::Congestion));
        if set.user_timeout > 0 {
            let time = Duration::from_millis(set.user_timeout.into());
            settings.push(Setting::UserTimeout(Some(time)));
        }
        if let (true, seconds) = set.linger {
            let time = Duration::from_secs(seconds.clamp(0, MOST_LINGER) as u64);
            settings.push(Setting::Linger(Some(time)));
        }
        if let Some(seconds) = set.linger2.filter(|seconds| *seconds > 0) {
            let time = Duration::from_secs(seconds.min(120) as u64);
            settings.push(Setting::FinWait2(Some(time)));
        }
        Ok(settings)
    }
}

/// The options of TCP whose value is a number.
fn tcp_number(socket: &Socket, tcp: &crate::tcp::Config, name: i32) -> Answer<i32> {
    let set = &socket.set;
    let seconds = |time: Duration| time.as_secs() as i32;
    let times = &tcp.keepalive_times;
    Ok(match name {
        libc::TCP_NODELAY => set.nodelay.into(),
        libc::TCP_CORK => set.cork.into(),
        libc::TCP_QUICKACK => set.is_quick.unwrap_or(true).into(),
        libc::TCP_MAXSEG => match socket.role {
            Role::Connection { .. } => socket.view.info.snd_mss as i32,
            _ => set.max_segment.map_or(536, i32::from),
        },
        libc::TCP_KEEPIDLE => set.keep_idle.unwrap_or(seconds(times.idle)),
        libc::TCP_KEEPINTVL => set.keep_interval.unwrap_or(seconds(times.interval)),
        libc::TCP_KEEPCNT => set.keep_count.unwrap_or(times.count.into()),
        libc::TCP_USER_TIMEOUT => set.user_timeout as i32,
        libc::TCP_DEFER_ACCEPT => deferred(set.defer_accept),
        libc::TCP_SYNCNT => set.syn_count.unwrap_or(tcp.syn_retries).into(),
        libc::TCP_LINGER2 => set.linger2.unwrap_or(seconds(tcp.fin_wait_2)),
        libc::TCP_WINDOW_CLAMP => set.window_clamp as i32,
        libc::TCP_NOTSENT_LOWAT => set.notsent_lowat as i32,
        TCP_INQ => set.inq.into(),
        _ => return Err(Errno(libc::EOPNOTSUPP)),
    })
}

/// SO_MEMINFO: octets received and unread, SO_RCVBUF, queued for sending, SO_SNDBUF, and what is not
/// counted here.
fn memory_info(socket: &Socket, defaults: &super::flags::Defaults) -> Vec<u8> {
    let set = &socket.set;
    let queued = socket.view.queued_out as u32;
    let words = [
        socket.view.unread as u32,
        set.receive_buffer.unwrap_or(defaults.receive_buffer),
        queued,
        set.send_buffer.unwrap_or(defaults.send_buffer),
        0,
        queued,
        0,
        0,
        0,
    ];
    words.iter().flat_map(|word: &u32| word.to_ne_bytes()).collect()
}

/// TCP_DEFER_ACCEPT as Linux gives it back: rounded up to what the SYN-ACK timer knows.
fn deferred(seconds: i32) -> i32 {
    let (mut period, mut timeout) = (0, 1);
    while period < seconds {
        period += timeout;
        timeout = (timeout * 2).min(120);
    }
    period
}

fn plain(set: &Set, level: i32, name: i32) -> Answer<i32> {
    let found = set.plain.iter().find(|(key, _)| *key == (level, name));
    if let Some((_, number)) = found {
        return Ok(*number);
    }
    match (level, name) {
        (libc::SOL_SOCKET, libc::SO_PRIORITY | libc::SO_MARK | libc::SO_BROADCAST) => Ok(0),
        (libc::SOL_SOCKET, libc::SO_DONTROUTE) => Ok(0),
        (libc::IPPROTO_IP, libc::IP_FREEBIND) => Ok(0),
        (libc::IPPROTO_IP, libc::IP_MTU_DISCOVER) => Ok(libc::IP_PMTUDISC_WANT),
        (libc::IPPROTO_IPV6, libc::IPV6_V6ONLY) => Ok(0),
        _ => Err(Errno(libc::EOPNOTSUPP)),
    }
}

/// An option's number; a value that is too short is refused.
fn int(value: &[u8]) -> Answer<i32> {
    let bytes = value.get(..4).ok_or(Errno(libc::EINVAL))?;
    bytes.try_into().map(i32::from_ne_bytes).map_err(|_| Errno(libc::EINVAL))
}

/// A buffer size within net.core.rmem_max and wmem_max, unless it is forced.
fn bounded(number: i32, is_forced: bool) -> u32 {
    let most = if is_forced { i32::MAX as u32 / 2 } else { MOST_BUFFER };
    (number as u32).min(most)
}

/// `struct timeval` of a time in milliseconds.
fn timeval(millis: Option<u64>) -> Vec<u8> {
    let millis = millis.unwrap_or(0) as i64;
    [(millis / 1000).to_ne_bytes(), (millis % 1000 * 1000).to_ne_bytes()].concat()
}

/// Milliseconds of a `struct timeval`; zero is for ever.
fn millis(value: &[u8]) -> Answer<Option<u64>> {
    let word = |at: usize| {
        let bytes = value.get(at..at + 8).and_then(|bytes| bytes.try_into().ok());
        bytes.map(i64::from_ne_bytes).ok_or(Errno(libc::EINVAL))
    };
    let (seconds, micros) = (word(0)?, word(8)?);
    if !(0..1_000_000).contains(&micros) {
        return Err(Errno(libc::EDOM));
    }
    let millis = u64::try_from(seconds).unwrap_or(0) * 1000 + micros as u64 / 1000;
    Ok(Some(millis).filter(|millis| *millis > 0 && *millis < FOREVER.as_secs()))
}

/// INET_ECN_MASK.
const ECN_BITS: u8 = 3;
/// SOCK_MIN_RCVBUF and SOCK_MIN_SNDBUF.
const LEAST_RECEIVE_BUFFER: u32 = 2304;
const LEAST_SEND_BUFFER: u32 = 4608;
/// net.core.rmem_max and wmem_max.
const MOST_BUFFER: u32 = 212_992;
/// Seconds of SO_LINGER that the stack knows.
const MOST_LINGER: i32 = 65_535;
/// TCP_CA_NAME_MAX.
const CONGESTION_NAME: usize = 16;
/// Not among libc's constants.
const TCP_INQ: i32 = 36;
