//! Attacks on the machine: time, memory, the host's attention.

use std::hint::black_box;
use std::sync::atomic::Ordering;

use super::ended;
use crate::bindings::exeunt::connector::types::Failure;
use crate::bindings::exeunt::connector::{clock, credentials, http, log};
use crate::descriptor::VISITS;
use crate::target;

type Attacked = Result<(), Failure>;

pub(super) fn spin() -> Attacked {
    loop {
        black_box(0);
    }
}

/// The host call is rare enough that host calls are not what runs out.
pub(super) fn spin_between_calls() -> Attacked {
    loop {
        (0..1_000_000).for_each(|round| {
            black_box(round);
        });
        black_box(clock::now());
    }
}

pub(super) fn sleep_by_calls() -> Attacked {
    loop {
        black_box(http::send(&target::get("/hostile/hang"), None)).ok();
    }
}

pub(super) fn grow_memory(bytes: usize) -> Attacked {
    const STEP: usize = 1024 * 1024;
    let mut kept = Vec::new();
    while kept.len() * STEP < bytes {
        kept.push(black_box(vec![1_u8; STEP]));
    }
    ended(&format!("{} bytes", kept.len() * STEP))
}

pub(super) fn recurse(depth: usize) -> Attacked {
    // Nothing has an address here, so all of it is on the host's stack and none on the guest's own.
    #[inline(never)]
    fn down(depth: usize, seed: usize) -> usize {
        match depth {
            0 => seed,
            _ => down(depth - 1, seed ^ depth).wrapping_mul(31).wrapping_add(seed),
        }
    }
    ended(&format!("{}", down(black_box(depth), black_box(7))))
}

pub(super) fn claim_list(kind: &str) -> Attacked {
    match kind {
        "text" => crate::bindings::log_claiming(u32::MAX as usize - 8, 0),
        _ => crate::bindings::log_claiming(0, u32::MAX as usize / 16),
    }
    ended("the host believed it")
}

pub(super) fn hand_over(kind: &str, bytes: usize) -> Attacked {
    let text = "x".repeat(bytes);
    if kind == "answer" {
        return Err(Failure::Unexpected(text));
    }
    log::write(log::Level::Info, &text, &[]);
    ended("handed over")
}

pub(super) fn endless_pages(requests: usize) -> Attacked {
    for _ in 0..requests {
        http::send(&target::get("/hostile/next"), None).map_err(target::failure)?;
    }
    ended(&format!("{requests} requests"))
}

pub(super) fn flood_calls(calls: usize) -> Attacked {
    for _ in 0..calls {
        black_box(clock::now());
    }
    ended(&format!("{calls} calls"))
}

pub(super) fn flood_log(lines: usize) -> Attacked {
    for line in 0..lines {
        log::write(log::Level::Info, &format!("line {line}"), &[]);
    }
    ended(&format!("{lines} lines"))
}

pub(super) fn long_log_line(bytes: usize) -> Attacked {
    log::write(log::Level::Info, &"x".repeat(bytes), &[]);
    ended("logged")
}

pub(super) fn log_fields(fields: usize) -> Attacked {
    let fields = vec![(String::new(), String::new()); fields];
    log::write(log::Level::Info, "fields", &fields);
    ended("logged")
}

pub(super) fn forge_log_line() -> Attacked {
    let evil = "quiet\r\n2026-01-01 ERROR forged\u{1b}[2J\0".to_owned();
    log::write(log::Level::Info, &evil, &[(evil.clone(), evil.clone())]);
    ended("logged")
}

pub(super) fn hoard_handles(handles: usize) -> Attacked {
    let hoard: Result<Vec<_>, _> = (0..handles).map(|_| credentials::api_key("static")).collect();
    let hoard = hoard.map_err(target::no_token)?;
    ended(&format!("{} handles", hoard.len()))
}

pub(super) fn leave_memory() -> Attacked {
    ended(&format!("visit {}", VISITS.fetch_add(1, Ordering::Relaxed)))
}
