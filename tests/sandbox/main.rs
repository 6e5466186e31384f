//! The sandbox holds: every attack of the table, tried with a hostile guest, a hostile file or a hostile target.
//!
//! Attacks run through the library, each in a house of its own: a runtime, two tenants, a target that listens on
//! loopback. After each of them the neighbour, a well-behaved connector on the same runtime, must still close its
//! leaver. Going through the binary was the alternative; it shows less of how a call ended, and limits could not be
//! made small enough to be tried.

mod accounts;
mod addresses;
mod answers;
#[path = "../plugins/hostile/src/attacks.rs"]
#[macro_use]
mod attacks;
mod closing;
mod compiling;
mod descriptor;
mod egress;
mod files;
mod house;
mod limits;
mod patience;
mod plugin;
mod registries;
mod reloads;
mod removals;
mod secrets;
mod served;
mod server;
mod signing;
mod target;
mod upgrades;

/// Attacks without a guest's code, as the lists in `attacks.rs`.
macro_rules! for_each_file {
    ($do:ident) => {
        $do! {
            NotWasm => files::what_is_not_wasm_is_refused,
                "file that is not WebAssembly", "format check";
            CoreModule => files::a_core_module_is_refused_with_the_command_to_run,
                "core module instead of a component", "format check";
            OtherWorld => files::a_component_of_another_world_is_refused,
                "component of another world", "check of imports and exports by name";
            OlderVersion => files::another_version_of_the_contract_is_refused,
                "component of an older version of the contract", "check of the version";
            WasiImport => files::an_import_that_the_contract_does_not_have_is_refused,
                "import of WASI, or of anything else", "no import but the contract's five; nothing else is linked";
            Malformed => files::a_damaged_component_is_refused_and_nothing_panics,
                "damaged or truncated component", "validation; fuzzed by mutation";
            TooLarge => files::a_component_has_a_size_limit,
                "component of gigabytes, or a file without end", "size limit before anything is read or parsed";
            TableGrowth => files::tables_grow_to_their_limit_and_no_further,
                "table growth", "limit on entries, one for all tables of a call";
            ManyMemories => files::memories_of_a_call_share_one_limit,
                "memory growth by many memories", "one limit for all memories of a call";
            PoolShare => files::a_component_takes_no_more_than_its_share_of_the_pool,
                "component of many memories, tables or instances, to empty the pool", "a component's share of the pool is capped when it is compiled";
            SpinAtStart => files::a_start_function_is_within_the_limits,
                "endless loop before the first call (start function)", "instantiation counts as part of the call";
            CallAtStart => files::a_start_function_that_calls_the_host_is_refused,
                "start function that asks the host or the target before the first call", "describing comes first, in a store without capabilities: trap, and no admission";
            SlowToCompile => compiling::a_component_that_takes_for_ever_to_compile_is_refused,
                "component that takes minutes to compile", "compiled in a process of its own, which is killed at its time limit";
            LargeToCompile => compiling::a_component_that_takes_gigabytes_to_compile_is_refused,
                "component that takes gigabytes to compile", "that process's memory is limited by the kernel, and it is the first to go when the machine runs out";
            LargeWhenCompiled => compiling::machine_code_has_a_size_limit,
                "component that grows to gigabytes of machine code", "limit on machine code, while it is read";
            PoolShareElsewhere => compiling::what_the_pool_has_no_room_for_is_refused_whoever_compiles,
                "component of many memories, compiled where there is no pool", "its share of the pool is checked again when it is loaded";
            Swapped => upgrades::another_file_than_the_pinned_one_is_refused,
                "plugin file swapped for another", "`digest` in the tenant file; compared before anything is compiled";
            Grown => upgrades::a_plugin_that_needs_more_is_refused_until_that_is_accepted,
                "upgrade that asks for another path, endpoint or key", "needs are compared with what ran before; the old plugin goes on until the operator accepts";
            GrownElsewhere => upgrades::what_is_accepted_is_exactly_that_on_a_host_that_remembers_nothing,
                "upgrade that asks for more, on a host that has never seen the old one", "`accepts` in the tenant file: exactly these needs";
            NeighboursPlugin => upgrades::a_kept_plugin_is_for_those_who_ran_it,
                "tenant file that names the digest of a neighbour's plugin", "a kept plugin is for connectors that ran it";
            KeptChanged => upgrades::a_kept_plugin_that_was_changed_is_not_run,
                "kept component that was changed on disk", "its digest is checked whenever it is read";
            Unsigned => signing::a_plugin_that_nobody_signed_is_refused_before_it_is_compiled,
                "plugin from somebody else, where signatures are demanded", "Ed25519 signature of its digest, checked before anything is compiled";
            ForeignKey => signing::a_tenants_key_counts_for_that_tenant_alone,
                "tenant that vouches for its neighbour's plugin, or for its own where the host demands a signature", "the host's demand is met by keys of the host's file alone, each tenant's by its own";
            Resigned => signing::a_signature_of_another_file_does_not_count,
                "signature of another plugin put beside it", "what is signed is the digest";
            RegistryInside => registries::a_registry_must_be_granted_by_the_host,
                "tenant that lets the host ask a registry on the inside", "registries are named in the host's file, plain http with each";
            RegistryLies => registries::what_a_registry_sends_has_the_digest_that_was_asked_for,
                "registry that sends another manifest or component", "pulled by digest, and both digests are ours to check; nothing is compiled before";
            RegistryEndless => registries::an_endless_answer_of_a_registry_ends_at_its_limit,
                "registry that sends without end", "limits on manifest, component, signatures and token, while they are read";
            RegistryDraws => registries::a_registrys_password_goes_to_its_tokens_over_tls_alone,
                "registry's answer that draws its password or the host elsewhere over plain http", "no redirect and no request for tokens but over TLS";
            PulledChanged => registries::what_was_pulled_is_checked_whenever_it_is_read_and_needs_no_registry,
                "pulled component that was changed on disk", "manifest and component are checked by digest whenever they are read";
            AddressLiteral => addresses::an_address_for_a_host_is_refused_when_the_tenant_is_read,
                "endpoint that is a private, loopback or metadata address, in every spelling", "refused when the tenant file is read";
            NameToLoopback => addresses::a_name_that_leads_inside_is_refused_before_connecting,
                "name that resolves to a loopback address", "every resolved address is checked, and the checked one is connected to";
            NameInside => addresses::a_name_that_leads_inside_is_refused_in_every_form_of_address,
                "name that resolves to a private, link-local, metadata, v4-mapped, NAT64, 6to4 or Teredo address",
                "every resolved address is checked, what is embedded in it too; denied, so that nobody retries";
            NameChanges => addresses::a_name_that_changes_its_answer_gains_nothing,
                "name that changes its answer between check and connect", "one look-up; the checked address is the one connected to";
            NeverResolved => addresses::names_that_are_never_answered_hold_nobody_else_up,
                "names that nobody ever answers, until nobody can look one up", "a tenant has its share of the look-ups, and keeps it until they have ended";
            BadProxy => addresses::a_proxy_cannot_hold_a_call_or_fill_the_memory,
                "egress proxy that refuses, hangs or answers without end", "time limit to connect, limit on its answer's head; nothing goes around it";
            PlainHttp => addresses::plain_http_needs_a_grant_for_that_very_address,
                "endpoint without TLS", "refused unless the host's file grants that address and port";
            SlowForEver => patience::an_attempt_begins_nothing_new_after_ten_minutes,
                "target so slow that one attempt goes on for hours", "an attempt begins nothing new after ten minutes; what it began is proved";
            TalksForEver => patience::an_attempt_that_says_too_much_begins_nothing_new,
                "exchanges of gigabytes, call after call, for the transcript", "limit on the bytes of an attempt's transcript";
        }
    };
}

/// Rows of the table in the documentation.
macro_rules! rows {
    ($($name:ident => $room:ident :: $test:ident, $what:literal, $stops:literal;)*) => {
        [$(($what, $stops, stringify!($room), stringify!($test))),*]
    };
}

macro_rules! each_has_a_test {
    ($($name:ident => $room:ident :: $test:ident, $what:literal, $stops:literal;)*) => {
        $(const _: fn() = $room::$test;)*
    };
}
for_each_attack!(each_has_a_test);
for_each_lie!(each_has_a_test);
for_each_file!(each_has_a_test);

// Behind the lists that it renders.
mod table;
