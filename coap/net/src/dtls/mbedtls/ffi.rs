//! A safe face of Mbed TLS: the only module of this project that calls C.
//!
//! [`Context`] is a configuration for one role, [`Connection`] one handshake and the session it makes.
//! Mbed TLS reaches out through callbacks only: records, timers, keys and randomness. All of them read
//! and write cells that live as long as the [`Context`] or the [`Connection`], on one thread: both hold
//! raw pointers and are therefore neither `Send` nor `Sync`.
#![expect(
    unsafe_code,
    reason = "Mbed TLS is a C library; every call into it and every callback out of it is in this file"
)]

use std::cell::{Cell, RefCell};
use std::ffi::{c_int, c_uchar, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bellwether_coap::Instant;
use mbedtls_rs_sys as sys;
use thiserror::Error;
use zeroize::Zeroizing;

use super::saved;
use crate::dtls::DtlsConfig;
use crate::dtls::cid::CID_BYTES;
use crate::entropy;
use crate::psk::{IDENTITY_BYTES_MAX, Lookup, PSK_BYTES_MAX, PskStore, Secret};

/// Why Mbed TLS could not be set up.
#[derive(Clone, Copy, Debug, Error, Eq, PartialEq)]
#[error("Mbed TLS refused to be set up ({0:#x})")]
pub struct SetupError(c_int);

/// How far a handshake is after a step.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Progress {
    Waiting,
    Done,
    Failed(Fault),
}

/// Why a handshake or session cannot go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// The peer closed it properly.
    CloseNotify,
    /// The peer sent a fatal alert that is authentic.
    Alert,
    /// Mbed TLS gave up, with this code.
    Code(c_int),
}

/// Which side of the handshake we are, and where the keys are.
pub(super) enum Role {
    Server(Arc<dyn PskStore>),
    Client { identity: Vec<u8>, key: Secret },
}

/// A configuration and everything the callbacks use. Never moves: C holds its address.
pub(super) struct Context {
    config: *mut sys::mbedtls_ssl_config,
    ciphersuites: [c_int; 2],
    connection_ids: bool,
    keys: Keys,
    wire: Wire,
}

/// What the key callback reads and writes.
struct Keys {
    store: Option<Arc<dyn PskStore>>,
    /// What was found for the handshake now being stepped, before it was.
    found: RefCell<Option<Found>>,
    /// The identity that the handshake now being stepped has shown.
    shown: RefCell<Option<Shown>>,
}

/// A PSK identity that a client named.
#[derive(Clone, Debug)]
pub(super) struct Shown {
    pub(super) identity: Option<Arc<str>>,
    /// Whether somebody has a key of it, as far as it could be found out.
    pub(super) known: bool,
}

/// The outcome of a look-up: the key of an identity, if there is one.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) identity: Arc<str>,
    pub(super) key: Option<Secret>,
}

/// What the record callbacks read and write, for whichever connection is being stepped.
#[derive(Default)]
struct Wire {
    incoming: RefCell<Vec<u8>>,
    waiting: Cell<bool>,
    outgoing: RefCell<Outgoing>,
}

/// Datagrams to send, one after the other.
#[derive(Default)]
struct Outgoing {
    bytes: Vec<u8>,
    ends: Vec<usize>,
}

impl Context {
    /// Makes a configuration: DTLS 1.2 with PSK-AES128-CCM8 and nothing else.
    ///
    /// Of `settings` it heeds `retransmit_first` and `connection_ids`.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if Mbed TLS has no memory, or takes the key or identity for unusable.
    pub(super) fn new(role: &Role, settings: &DtlsConfig) -> Result<Rc<Self>, SetupError> {
        let config = Box::into_raw(Box::new(MaybeUninit::<sys::mbedtls_ssl_config>::zeroed())).cast();
        // SAFETY: `config` is a fresh allocation of the right size, zeroed; init only writes to it.
        unsafe { sys::mbedtls_ssl_config_init(config) };
        let store = match role {
            Role::Server(store) => Some(Arc::clone(store)),
            Role::Client { .. } => None,
        };
        // From here on dropping the context frees the configuration, whatever fails below.
        let context = Rc::new(Self {
            config,
            ciphersuites: [PSK_WITH_AES_128_CCM_8, 0],
            connection_ids: settings.connection_ids,
            keys: Keys { store, found: RefCell::new(None), shown: RefCell::new(None) },
            wire: Wire::default(),
        });
        context.set_defaults(role)?;
        context.set_cid_length()?;
        context.set_callbacks(settings.retransmit_first);
        if let Role::Client { identity, key } = role {
            context.set_client_key(identity, key)?;
        }
        Ok(context)
    }

    fn set_defaults(&self, role: &Role) -> Result<(), SetupError> {
        let endpoint = match role {
            Role::Server(_) => sys::MBEDTLS_SSL_IS_SERVER,
            Role::Client { .. } => sys::MBEDTLS_SSL_IS_CLIENT,
        };
        // SAFETY: the configuration is initialised and nobody else uses it yet.
        setup(unsafe {
            sys::mbedtls_ssl_config_defaults(
                self.config,
                endpoint.cast_signed(),
                sys::MBEDTLS_SSL_TRANSPORT_DATAGRAM.cast_signed(),
                sys::MBEDTLS_SSL_PRESET_DEFAULT.cast_signed(),
            )
        })
    }

    /// A server is sent to by connection IDs of [`CID_BYTES`], a client by none.
    fn set_cid_length(&self) -> Result<(), SetupError> {
        let length = if self.keys.store.is_some() { CID_BYTES } else { 0 };
        let ignore = sys::MBEDTLS_SSL_UNEXPECTED_CID_IGNORE.cast_signed();
        // SAFETY: the configuration is initialised and nobody else uses it yet.
        setup(unsafe { sys::mbedtls_ssl_conf_cid(self.config, length, ignore) })
    }

    fn set_callbacks(&self, retransmit_first: Duration) {
        let first = u32::try_from(retransmit_first.as_millis()).unwrap_or(RETRANSMIT_MAX_MS);
        let keys = ptr::from_ref(&self.keys).cast_mut().cast();
        // SAFETY: the configuration is initialised. What it keeps pointers to, the suite list and
        // `keys`, are fields of `self`, which lies in an `Rc` from birth on, so never moves, and is
        // outlived by no connection (each holds the `Rc`). The callbacks have the types C expects.
        unsafe {
            sys::mbedtls_ssl_conf_rng(self.config, Some(random), ptr::null_mut());
            sys::mbedtls_ssl_conf_ciphersuites(self.config, self.ciphersuites.as_ptr());
            sys::mbedtls_ssl_conf_session_tickets(self.config, 0);
            sys::mbedtls_ssl_conf_dtls_anti_replay(self.config, 1);
            sys::mbedtls_ssl_conf_handshake_timeout(self.config, first, RETRANSMIT_MAX_MS.max(first));
            if self.keys.store.is_some() {
                sys::mbedtls_ssl_conf_psk_cb(self.config, Some(find_key), keys);
                let (write, check) = (Some(write_cookie as _), Some(check_cookie as _));
                sys::mbedtls_ssl_conf_dtls_cookies(self.config, write, check, ptr::null_mut());
            }
        }
    }

    fn set_client_key(&self, identity: &[u8], key: &Secret) -> Result<(), SetupError> {
        let key = key.expose();
        // SAFETY: both slices are valid for their lengths during the call; C copies them.
        setup(unsafe {
            sys::mbedtls_ssl_conf_psk(self.config, key.as_ptr(), key.len(), identity.as_ptr(), identity.len())
        })
    }

    /// Hands each datagram written since the last call to `send`.
    pub(super) fn drain_outgoing(&self, mut send: impl FnMut(&[u8])) {
        let mut outgoing = self.wire.outgoing.borrow_mut();
        let mut start = 0;
        for &end in &outgoing.ends {
            send(&outgoing.bytes[start..end]);
            start = end;
        }
        outgoing.bytes.clear();
        outgoing.ends.clear();
    }

    fn offer(&self, record: Option<&[u8]>) {
        let mut incoming = self.wire.incoming.borrow_mut();
        incoming.clear();
        incoming.extend_from_slice(record.unwrap_or_default());
        self.wire.waiting.set(record.is_some());
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        // SAFETY: `config` came out of `Box::into_raw` with this type, was initialised, and no
        // connection is left that uses it. `mbedtls_ssl_config_free` wipes the client's key.
        unsafe {
            sys::mbedtls_ssl_config_free(self.config);
            drop(Box::from_raw(self.config.cast::<MaybeUninit<sys::mbedtls_ssl_config>>()));
        }
    }
}

/// One handshake, and the session it made.
pub(super) struct Connection {
    ssl: *mut sys::mbedtls_ssl_context,
    timer: Rc<Timer>,
    shown: Option<Shown>,
    context: Rc<Context>,
}

/// The two-step timer Mbed TLS wants, over a clock that stands still during a call.
#[derive(Default)]
struct Timer {
    now: Cell<Instant>,
    /// Intermediate and final time.
    set: Cell<Option<(Instant, Instant)>>,
}

impl Connection {
    /// Allocates a connection in its first state; nothing is sent. A server offers `cid` to a client that can use
    /// it; a client has none, and uses the server's.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if Mbed TLS has no memory.
    pub(super) fn new(context: &Rc<Context>, cid: Option<[u8; CID_BYTES]>) -> Result<Self, SetupError> {
        let ssl = Box::into_raw(Box::new(MaybeUninit::<sys::mbedtls_ssl_context>::zeroed())).cast();
        // SAFETY: `ssl` is a fresh allocation of the right size, zeroed; init only writes to it.
        unsafe { sys::mbedtls_ssl_init(ssl) };
        // From here on dropping the connection frees it, whatever fails below.
        let connection =
            Self { ssl, timer: Rc::new(Timer::default()), shown: None, context: Rc::clone(context) };
        // SAFETY: `ssl` is initialised; the configuration is complete and is kept by `context`.
        setup(unsafe { sys::mbedtls_ssl_setup(ssl, context.config) })?;
        let wire = ptr::from_ref(&context.wire).cast_mut().cast();
        let timer = Rc::as_ptr(&connection.timer).cast_mut().cast();
        // SAFETY: `wire` and `timer` lie in `Rc`s that this connection holds for as long as `ssl`
        // exists; the callbacks make shared references of them only.
        unsafe {
            sys::mbedtls_ssl_set_bio(ssl, wire, Some(send), Some(receive), None);
            sys::mbedtls_ssl_set_timer_cb(ssl, timer, Some(set_timer), Some(get_timer));
        }
        if !context.connection_ids {
            return Ok(connection);
        }
        let (cid, length) = cid.as_ref().map_or((ptr::null(), 0), |cid| (cid.as_ptr(), cid.len()));
        let enabled = sys::MBEDTLS_SSL_CID_ENABLED.cast_signed();
        // SAFETY: `ssl` is set up; `cid` is readable for `length` bytes during the call, which copies them.
        setup(unsafe { sys::mbedtls_ssl_set_cid(ssl, enabled, cid, length) })?;
        Ok(connection)
    }

    /// Goes on with a session that [`Connection::save`] wrote; its next sequence number is at least `floor`.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if it is none of this version, configuration and connection ID, or its sequence numbers are used
    /// up.
    pub(super) fn load(
        context: &Rc<Context>,
        cid: [u8; CID_BYTES],
        state: &[u8],
        floor: u64,
    ) -> Result<Self, SetupError> {
        if !saved::is_session_of(cid, state) {
            return Err(SetupError(sys::MBEDTLS_ERR_SSL_BAD_INPUT_DATA));
        }
        let connection = Self::new(context, Some(cid))?;
        // SAFETY: `ssl` is freshly set up and `state` is readable for its length; its connection IDs, which C copies
        // by the lengths that it says, fit where they go. Where it fails, C frees and zeroes what is in `ssl`, and
        // dropping the connection frees nothing twice.
        setup(unsafe { sys::mbedtls_ssl_context_load(connection.ssl, state.as_ptr(), state.len()) })?;
        // SAFETY: `ssl` is set up and nobody else has a reference into it; the field is plain bytes.
        let counter = unsafe { &mut (*connection.ssl).private_cur_out_ctr };
        let written = u64::from_be_bytes(*counter);
        let (epoch, sequence) = (written & !SEQUENCE_MAX, written & SEQUENCE_MAX);
        let sequence = sequence.saturating_add(SEQUENCE_RESERVE).max(floor);
        if sequence >= SEQUENCE_MAX {
            return Err(SetupError(sys::MBEDTLS_ERR_SSL_COUNTER_WRAPPING));
        }
        *counter = (epoch | sequence).to_be_bytes();
        Ok(connection)
    }

    /// Writes keys and sequence numbers of an established session, which is over here; `None` while its handshake
    /// may have to be repeated, that is until the peer has sent data: then nothing has changed.
    pub(super) fn save(&mut self) -> Option<Zeroizing<Vec<u8>>> {
        let mut state = Zeroizing::new(vec![0; SAVED_BYTES_MAX]);
        let mut count = 0;
        // SAFETY: `ssl` is set up; `state` has room for its length, and C writes no more than that.
        let code = unsafe {
            sys::mbedtls_ssl_context_save(self.ssl, state.as_mut_ptr(), state.len(), &raw mut count)
        };
        state.truncate(count);
        (code == 0).then_some(state)
    }

    /// Tells whether the peer sends to a connection ID of ours; asked of established sessions.
    pub(super) fn has_cid(&self) -> bool {
        let mut enabled = 0;
        // SAFETY: `ssl` is set up; C writes one number, and leaves out what it has no pointers for.
        let code = unsafe {
            sys::mbedtls_ssl_get_peer_cid(self.ssl, &raw mut enabled, ptr::null_mut(), ptr::null_mut())
        };
        code == 0 && enabled == sys::MBEDTLS_SSL_CID_ENABLED.cast_signed()
    }

    /// Tells the highest sequence number of the authentic records so far.
    pub(super) fn newest(&self) -> u64 {
        // SAFETY: `ssl` is set up and nobody writes to it now; the field is a plain number.
        unsafe { (*self.ssl).private_in_window_top }
    }

    /// Goes on with the handshake: with one record, or because a timer is due or it begins. `found` is the key for
    /// the identity that the record names, if it was looked up.
    pub(super) fn handshake(
        &mut self,
        record: Option<&[u8]>,
        found: Option<Found>,
        now: Instant,
    ) -> Progress {
        self.timer.now.set(now);
        self.context.offer(record);
        self.context.keys.found.replace(found);
        // SAFETY: `ssl` is set up; its callbacks touch only cells nobody has borrowed now.
        let code = unsafe { sys::mbedtls_ssl_handshake(self.ssl) };
        if let Some(shown) = self.context.keys.shown.take() {
            self.shown = Some(shown);
        }
        match code {
            0 => Progress::Done,
            sys::MBEDTLS_ERR_SSL_WANT_READ | sys::MBEDTLS_ERR_SSL_WANT_WRITE => Progress::Waiting,
            code => Progress::Failed(fault(code)),
        }
    }

    /// Hands one record of an established session in, for [`Connection::read`] to open.
    pub(super) fn offer(&mut self, record: &[u8], now: Instant) {
        self.timer.now.set(now);
        self.context.offer(Some(record));
    }

    /// Opens what waits, into `plaintext`; `None` once nothing more comes of it.
    ///
    /// # Errors
    ///
    /// [`Fault`] if the session has ended. What is not authentic, or was seen before, is no fault.
    pub(super) fn read(&mut self, plaintext: &mut [u8]) -> Result<Option<usize>, Fault> {
        // SAFETY: `ssl` is set up and `plaintext` is valid for writes of its length.
        let code = unsafe { sys::mbedtls_ssl_read(self.ssl, plaintext.as_mut_ptr(), plaintext.len()) };
        match code {
            sys::MBEDTLS_ERR_SSL_WANT_READ | sys::MBEDTLS_ERR_SSL_WANT_WRITE | 0 => Ok(None),
            code => usize::try_from(code).map(Some).map_err(|_| fault(code)),
        }
    }

    /// Protects `plaintext` as one record of an established session.
    ///
    /// # Errors
    ///
    /// [`Fault`] if it is too long for a record, or the session has used up its sequence numbers.
    pub(super) fn write(&mut self, plaintext: &[u8], now: Instant) -> Result<(), Fault> {
        self.timer.now.set(now);
        self.context.offer(None);
        // SAFETY: `ssl` is set up and `plaintext` is valid for reads of its length.
        let code = unsafe { sys::mbedtls_ssl_write(self.ssl, plaintext.as_ptr(), plaintext.len()) };
        match usize::try_from(code) {
            Ok(written) if written == plaintext.len() => Ok(()),
            _ => Err(fault(code)),
        }
    }

    /// Writes the alert that says the session is over.
    pub(super) fn close_notify(&mut self, now: Instant) {
        self.timer.now.set(now);
        self.context.offer(None);
        // SAFETY: `ssl` is set up. A refusal leaves nothing to do: the connection is dropped next.
        let _ = unsafe { sys::mbedtls_ssl_close_notify(self.ssl) };
    }

    /// Tells when [`Connection::handshake`] is to be called without a record.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.timer.set.get().map(|(_, last)| last)
    }

    /// Tells the identity that the client has shown so far; verified once the handshake is done.
    pub(super) fn shown(&self) -> Option<&Shown> {
        self.shown.as_ref()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        // SAFETY: `ssl` came out of `Box::into_raw` with this type and was initialised; C keeps no
        // pointer to it. The configuration is still there: `context` is dropped after this.
        unsafe {
            sys::mbedtls_ssl_free(self.ssl);
            drop(Box::from_raw(self.ssl.cast::<MaybeUninit<sys::mbedtls_ssl_context>>()));
        }
    }
}

fn setup(code: c_int) -> Result<(), SetupError> {
    if code == 0 { Ok(()) } else { Err(SetupError(code)) }
}

fn fault(code: c_int) -> Fault {
    match code {
        sys::MBEDTLS_ERR_SSL_PEER_CLOSE_NOTIFY => Fault::CloseNotify,
        sys::MBEDTLS_ERR_SSL_FATAL_ALERT_MESSAGE => Fault::Alert,
        code => Fault::Code(code),
    }
}

/// Takes one outgoing datagram.
unsafe extern "C" fn send(wire: *mut c_void, bytes: *const c_uchar, count: usize) -> c_int {
    // SAFETY: `wire` is the pointer that `Connection::new` gave: a live `Wire`.
    let wire = unsafe { &*wire.cast::<Wire>() };
    // SAFETY: C hands `count` readable bytes for the time of this call.
    let bytes = unsafe { std::slice::from_raw_parts(bytes, count) };
    let Ok(mut outgoing) = wire.outgoing.try_borrow_mut() else {
        return sys::MBEDTLS_ERR_SSL_WANT_WRITE;
    };
    outgoing.bytes.extend_from_slice(bytes);
    let end = outgoing.bytes.len();
    outgoing.ends.push(end);
    c_int::try_from(count).unwrap_or(sys::MBEDTLS_ERR_SSL_INTERNAL_ERROR)
}

/// Gives the record that waits, once.
unsafe extern "C" fn receive(wire: *mut c_void, room: *mut c_uchar, count: usize) -> c_int {
    // SAFETY: `wire` is the pointer that `Connection::new` gave: a live `Wire`.
    let wire = unsafe { &*wire.cast::<Wire>() };
    let Ok(incoming) = wire.incoming.try_borrow() else {
        return sys::MBEDTLS_ERR_SSL_WANT_READ;
    };
    // Half a record would be taken for a whole one, so what does not fit is dropped.
    if !wire.waiting.replace(false) || incoming.len() > count {
        return sys::MBEDTLS_ERR_SSL_WANT_READ;
    }
    // SAFETY: C hands room for `count` bytes, and no more than that are written; the two do not
    // overlap, since C does not know the buffer of `wire`.
    unsafe { ptr::copy_nonoverlapping(incoming.as_ptr(), room, incoming.len()) };
    c_int::try_from(incoming.len()).unwrap_or(sys::MBEDTLS_ERR_SSL_INTERNAL_ERROR)
}

/// Sets the timer, or stops it when the final time is 0.
unsafe extern "C" fn set_timer(timer: *mut c_void, intermediate_ms: u32, final_ms: u32) {
    // SAFETY: `timer` is the pointer that `Connection::new` gave: a live `Timer`.
    let timer = unsafe { &*timer.cast::<Timer>() };
    let now = timer.now.get();
    let after = |ms: u32| now.after(Duration::from_millis(u64::from(ms)));
    timer.set.set((final_ms != 0).then(|| (after(intermediate_ms), after(final_ms))));
}

/// Tells how far the timer is: -1 stopped, 0 running, 1 past the intermediate, 2 past the final time.
unsafe extern "C" fn get_timer(timer: *mut c_void) -> c_int {
    // SAFETY: `timer` is the pointer that `Connection::new` gave: a live `Timer`.
    let timer = unsafe { &*timer.cast::<Timer>() };
    let now = timer.now.get();
    match timer.set.get() {
        None => -1,
        Some((intermediate, _)) if now < intermediate => 0,
        Some((_, last)) if now < last => 1,
        Some(_) => 2,
    }
}

/// Finds the key of the identity that a client names.
///
/// An unknown identity gets a random key, so that its handshake fails where one with a wrong key does
/// and the peer cannot tell them apart (RFC 4279 §2 allows that).
unsafe extern "C" fn find_key(
    keys: *mut c_void,
    ssl: *mut sys::mbedtls_ssl_context,
    identity: *const c_uchar,
    count: usize,
) -> c_int {
    // SAFETY: `keys` is the pointer that `Context::set_callbacks` gave: a live `Keys`.
    let keys = unsafe { &*keys.cast::<Keys>() };
    // SAFETY: C hands `count` readable bytes for the time of this call.
    let identity = unsafe { std::slice::from_raw_parts(identity, count) };
    let name = std::str::from_utf8(identity).ok().filter(|_| count <= IDENTITY_BYTES_MAX);
    let found = name.and_then(|name| key_of(keys, name));
    let shown = Shown { identity: name.map(Arc::from), known: found.is_some() };
    let Ok(mut place) = keys.shown.try_borrow_mut() else {
        return sys::MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    };
    *place = Some(shown);
    let Some(key) = found.or_else(random_key) else {
        return sys::MBEDTLS_ERR_SSL_INTERNAL_ERROR;
    };
    let key = key.expose();
    // SAFETY: `ssl` is the connection being stepped; `key` is readable for its length and copied.
    unsafe { sys::mbedtls_ssl_set_hs_psk(ssl, key.as_ptr(), key.len()) }
}

/// Gives the key that was looked up for this identity. Where somebody has mixed fragments of his own in, Mbed TLS may
/// read another one, which has to be in memory.
fn key_of(keys: &Keys, name: &str) -> Option<Secret> {
    let found = keys.found.try_borrow_mut().ok()?.take();
    match found {
        Some(found) if *found.identity == *name => found.key,
        _ => match keys.store.as_ref()?.find(name.as_bytes()) {
            Lookup::Key(key) => Some(key),
            Lookup::Nobody | Lookup::Later => None,
        },
    }
}

fn random_key() -> Option<Secret> {
    let mut key = vec![0; PSK_BYTES_MAX];
    entropy::fill(&mut key).ok()?;
    Secret::new(key)
}

/// Refuses to write cookies: the engine has done so before a connection exists.
unsafe extern "C" fn write_cookie(
    _: *mut c_void,
    _: *mut *mut c_uchar,
    _: *mut c_uchar,
    _: *const c_uchar,
    _: usize,
) -> c_int {
    sys::MBEDTLS_ERR_SSL_INTERNAL_ERROR
}

/// Accepts every cookie: the engine lets only verified `ClientHello`s come this far.
unsafe extern "C" fn check_cookie(
    _: *mut c_void,
    _: *const c_uchar,
    _: usize,
    _: *const c_uchar,
    _: usize,
) -> c_int {
    0
}

/// Draws random bytes for the handshake.
unsafe extern "C" fn random(_: *mut c_void, room: *mut c_uchar, count: usize) -> c_int {
    // SAFETY: C hands room for `count` bytes and reads them only after this returned 0; zeroing them
    // first makes the slice initialised.
    let room = unsafe {
        ptr::write_bytes(room, 0, count);
        std::slice::from_raw_parts_mut(room, count)
    };
    match entropy::fill(room) {
        Ok(()) => 0,
        Err(_) => sys::MBEDTLS_ERR_SSL_INTERNAL_ERROR,
    }
}

/// Draws random bytes for the PSA layer of Mbed TLS, which links to a function of this name.
#[unsafe(no_mangle)]
unsafe extern "C" fn mbedtls_psa_external_get_random(
    _: *mut sys::mbedtls_psa_external_random_context_t,
    room: *mut c_uchar,
    size: usize,
    written: *mut usize,
) -> sys::psa_status_t {
    // SAFETY: C hands room for `size` bytes; `random` asks for no more.
    if unsafe { random(ptr::null_mut(), room, size) } != 0 {
        return PSA_ERROR_INSUFFICIENT_ENTROPY;
    }
    // SAFETY: C hands a place for the count.
    unsafe { written.write(size) };
    0
}

/// `TLS_PSK_WITH_AES_128_CCM_8`, RFC 6655 §5.
const PSK_WITH_AES_128_CCM_8: c_int = 0xC0A8;

/// Bytes of the connection ID that a peer may have given us.
pub(super) const PEER_CID_BYTES_MAX: usize = sys::MBEDTLS_SSL_CID_OUT_LEN_MAX as usize;

/// Room for what [`Connection::save`] writes: 216 bytes were seen, with a connection ID on both sides at most 64 more.
const SAVED_BYTES_MAX: usize = 512;

/// The highest sequence number of a record: 48 bits.
const SEQUENCE_MAX: u64 = (1 << 48) - 1;

/// Sequence numbers left out after a session was loaded, on top of what its age gives.
const SEQUENCE_RESERVE: u64 = 1 << 16;

/// RFC 6347 §4.2.4.1: the timeout doubles up to 60 s.
const RETRANSMIT_MAX_MS: u32 = 60_000;

/// `PSA_ERROR_INSUFFICIENT_ENTROPY` of the PSA Crypto API.
const PSA_ERROR_INSUFFICIENT_ENTROPY: sys::psa_status_t = -148;
