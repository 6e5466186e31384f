//! Every attack, what stops it, and the test that tries it.
//!
//! The guest and the suite share this file. The guest matches on [`Attack`] and [`Lie`], so an entry that it cannot do
//! does not compile; the suite names each test in a `use`, so an entry without a test does not compile either.

/// Calls `$do` with every attack: its name, the test, the attack in words, and what stops it.
macro_rules! for_each_attack {
    ($do:ident) => {
        $do! {
            // Limits of the sandbox
            Spin => limits::an_endless_loop_ends_at_its_cpu_limit,
                "endless loop", "CPU limit: the epoch, moved by a thread of its own, ends the call";
            SpinBetweenCalls => limits::an_endless_loop_between_host_calls_ends_at_its_cpu_limit,
                "endless loop between host calls", "CPU limit: counts over the whole call, host calls do not reset it";
            SleepByCalls => limits::waiting_by_host_calls_ends_at_the_wall_clock,
                "sleep by host calls", "wall clock around the whole call; an epoch does not move a guest that waits";
            GrowMemory => limits::memory_grows_to_its_limit_and_no_further,
                "memory growth", "memory limit, one for all memories of a call";
            GrowTogether => limits::calls_of_a_tenant_share_a_limit_on_memory,
                "memory growth by many calls at once", "memory limit, one for all calls of a tenant";
            Recurse => limits::deep_recursion_ends_at_the_stack_limit,
                "deep recursion", "stack limit";
            ClaimList => limits::a_list_of_four_gigabytes_is_not_believed,
                "list of 4 GB claimed to the host", "bounds check before anything is allocated";
            HandOver => limits::what_a_call_hands_over_has_a_limit,
                "text or answer of megabytes handed to the host", "limit on bytes handed over in one host call";
            EndlessPages => limits::endless_pages_end_at_the_request_limit,
                "endless pages while finding", "limit on requests in one call";
            FloodCalls => limits::host_calls_have_a_limit,
                "flood of host calls", "limit on host calls in one call";
            FloodLog => limits::log_lines_have_a_limit,
                "flood of log lines", "limit on lines; the rest is dropped, said once";
            LongLogLine => limits::a_log_line_has_a_limit,
                "log line of megabytes", "limit on bytes of a line; it is dropped, and that is said";
            LogFields => limits::empty_log_fields_are_not_free,
                "log line of a hundred thousand empty fields", "each field costs its quotes and separators";
            ForgeLogLine => limits::a_log_line_cannot_forge_another,
                "log line with line ends and terminal sequences", "control characters are replaced";
            HoardHandles => limits::handles_have_a_limit,
                "flood of handles", "limit on handles, beside the one grant that a call has";
            LeaveMemory => limits::nothing_stays_in_memory_between_calls,
                "state left for the next person's call", "a fresh store for each call";
            BigRequest => limits::a_request_has_limits,
                "request with a huge head, many fields or a huge body", "limits on head, fields and body, before anything is sent";

            // What leaves the host
            InjectHeader => egress::a_header_value_cannot_begin_another,
                "header injection (CR, LF, NUL)", "values with control characters are denied";
            ReservedHeader => egress::reserved_headers_are_denied,
                "reserved headers (Host, Authorization, Transfer-Encoding, Connection, Proxy-*, Cookie, method override)",
                "allow-list of nine harmless headers";
            EscapePath => egress::paths_cannot_leave_their_place,
                "path escapes (.., %2e, //host, \\, absolute URL, user info, query in path, Unicode)",
                "one strict parser; segments are checked decoded and written anew";
            WriteWhileReading => egress::reading_verbs_cannot_write,
                "unsafe method or body inside mint, find, read or page, or a query parameter that overrides the method",
                "verb rule: GET and HEAD without body, and without such a parameter, only";
            UnknownEndpoint => egress::an_endpoint_must_be_declared,
                "endpoint that was not declared", "endpoints are names that the operator bound";
            UndeclaredPath => egress::a_path_must_be_declared_and_granted,
                "path that was not declared, or not granted", "reach of the descriptor met by the operator's grant";
            FollowRedirect => egress::a_redirect_is_returned_and_not_followed,
                "redirect to elsewhere", "the client follows none; the guest gets the 3xx";

            // What a hostile target sends
            CompressedBomb => target::a_compressed_bomb_ends_at_the_body_limit,
                "compressed bomb", "the body limit counts decompressed bytes, chunk by chunk";
            EndlessBody => target::an_endless_body_ends_at_the_body_limit,
                "endless body", "body limit; what was cut off counts as received";
            BrokenBody => target::answers_that_break_off_count_as_far_as_they_came,
                "answers that break off before their end, again and again", "limit on what one call receives: counted as it comes";
            HoardAnswers => target::answers_are_held_in_the_memory_of_the_tenant,
                "huge answers to many calls at once", "memory limit, one for all calls of a tenant";
            SlowBody => target::a_slow_body_ends_at_the_exchange_limit,
                "slow body", "time limit for a whole exchange";
            EndlessHead => target::an_endless_head_is_cut_off,
                "endless or huge response head", "limit on header bytes and count";

            // Secrets
            EchoToken => secrets::an_echoed_token_is_blanked_in_every_form,
                "target echoes the token (plain, base64, URL-encoded, hex; body and header)",
                "scrubber between every answer and guest, log and transcript";
            EchoTokenLater => secrets::a_token_that_is_echoed_later_is_blanked_too,
                "target echoes the token in answer to a request without it", "everything that a call was lent is looked for in all its answers";
            EchoPieces => secrets::an_echo_in_pieces_is_blanked,
                "target echoes the token cut off, or wrapped into lines", "long secrets are looked for in pieces, and the rest of the word goes along";
            EchoEarlier => secrets::what_a_token_was_minted_with_is_blanked_in_later_calls,
                "target echoes in find what it was sent in mint: assertion, client secret, Basic pair",
                "a token's scrubber finds what it was minted with, and the token before it";
            Unscramble => secrets::a_secret_that_the_guest_decodes_goes_no_further,
                "target echoes the token in a form that the scrubber does not know; the guest decodes it",
                "failures, accounts, log lines and recorded requests are scrubbed as well";
            GuessSecret => secrets::a_guess_of_a_secret_that_is_right_ends_the_call,
                "the author's own server sends guesses of a secret, to see which are blanked",
                "pieces that are too long to try all; a secret of a key that does not go there ends the call and parks the connector";
            EchoAssertion => secrets::an_echoed_assertion_is_blanked,
                "target echoes the signed assertion, or the token in another header", "scrubber, also over the token exchange";
            UseAfterDrop => secrets::a_dropped_handle_is_gone,
                "use of a handle after drop", "handle table of the component model: trap";
            DropTwice => secrets::a_borrowed_handle_cannot_be_dropped_twice,
                "double drop of a lent handle", "handle table of the component model: trap";
            ForgeHandle => secrets::a_guessed_handle_leads_nowhere,
                "another tenant's token handle, guessed", "handles are per store; a guessed one traps";
            TokenElsewhere => secrets::a_token_does_not_go_to_another_endpoint,
                "token of one endpoint sent to another, or to an undeclared one", "`usable-at` of its key, checked before anything is sent";
            TwoTokens => secrets::mint_gets_one_token,
                "mint that asks for two tokens", "limit of one grant in a call";
            StrayToken => secrets::mint_cannot_hand_over_a_token_that_it_did_not_make,
                "mint that hands over a handle it made up", "handle table, and the host compares with the token made in this call";
            GrantWhileReading => secrets::only_mint_gets_tokens,
                "grants outside mint", "verb rule";
            LongAssertion => secrets::an_assertion_is_no_longer_than_allowed,
                "assertion that is valid for ten years", "`max_assertion`, 1 h unless the operator says otherwise";

            // Answers
            WrongAccount => answers::somebody_elses_account_fails_the_job,
                "find answers with another person's account or e-mail", "the host compares id and address itself";
            ManyAccounts => answers::a_thousand_accounts_fail_the_job,
                "find or page answers with a thousand accounts too many", "limit on accounts in an answer";
            OddId => answers::an_account_id_is_neither_empty_nor_endless,
                "empty or huge account id, endless cursor", "limits on id and cursor";
            OddAccount => accounts::an_account_is_bounded_and_printable,
                "account with line ends, megabytes of text, a thousand attributes, or the same id twice",
                "limits on fields and attributes; control characters break the contract or are replaced";
            ReadAnother => answers::verification_wants_the_account_that_was_closed,
                "read answers with another account that is closed", "the id must be the one asked for";
            LieClosed => answers::a_closure_that_did_not_happen_is_found_out,
                "close says ok without closing", "an independent read must say closed, else the job fails";
            LieOpen => answers::a_failure_that_hides_a_closure_is_found_out_by_reading,
                "close closes and says that it did not", "the host knows what went out and reads before it tries again";
            LongFailure => answers::a_failure_is_bounded_text,
                "failure text of megabytes with terminal sequences", "cut and made printable before anybody keeps it";
            Trap => answers::a_trap_in_any_verb_ends_that_call_alone,
                "trap in each verb", "typed fault; the store is dropped";
            Panic => answers::a_panic_in_any_verb_ends_that_call_alone,
                "panic in each verb", "typed fault; the store is dropped";
            TrapAfterClose => answers::a_trap_after_the_closure_is_settled_by_reading,
                "trap after the closure went out", "the host saw the request leave, and reads";

            // Closing
            CloseTwice => closing::a_second_unsafe_request_is_denied,
                "close sends two unsafe requests", "limit of one unsafe request in a call";
            CloseNameless => closing::an_unsafe_request_names_the_account,
                "close sends an unsafe request without the id", "the descriptor's line has it in its path or its body, and the request must be that";
            CloseAnother => closing::an_unsafe_request_names_no_other_account,
                "close sends another id: in path, body, query, beside the right one, or in another content type",
                "path template; the body is compared as JSON with the declared one; query by declared names only";
            CloseDoubled => closing::a_body_leaves_in_the_hosts_own_spelling,
                "close sends a body that servers read in two ways (a member twice)", "what leaves is the host's own spelling of the declared body";
        }
    };
}

/// Calls `$do` with every lie that a descriptor can tell, as [`for_each_attack`].
macro_rules! for_each_lie {
    ($do:ident) => {
        $do! {
            UnsafeFind => descriptor::reading_verbs_cannot_declare_unsafe_methods,
                "descriptor declares DELETE for find", "refused at admission";
            NoSuchEndpoint => descriptor::reach_and_keys_name_declared_endpoints,
                "descriptor's reach and keys name an unknown endpoint", "refused at admission";
            BadNames => descriptor::names_are_names,
                "descriptor with names that are none, or twice", "refused at admission";
            SchemaNotJson => descriptor::the_schema_is_json,
                "settings schema that is not JSON", "refused at admission";
            SchemaBomb => descriptor::a_schema_that_unfolds_without_end_is_refused,
                "settings schema that unfolds to billions of checks", "references are counted as if written out";
            Complaining => descriptor::what_a_schema_says_of_mistakes_has_a_limit,
                "settings schema that finds thousands of mistakes and has a page to say about each", "limits on both; made printable";
            ManyEntries => descriptor::lists_have_limits,
                "descriptor with thousands of entries", "limit on entries, and on what is said about them";
            LooseClose => descriptor::an_unsafe_line_names_the_account,
                "descriptor's line for close names no account, any account, or an unreadable body", "refused at admission";
            SecretDefault => descriptor::a_default_base_url_never_takes_a_secret,
                "descriptor's default base URL draws tokens and secrets to the plugin's author", "an endpoint where a secret goes must be bound by the operator";
            PatternBomb => descriptor::a_pattern_that_compiles_to_gigabytes_is_refused,
                "settings schema with a pattern that compiles to gigabytes or matches for years", "linear-time patterns, limits on their size and number";
            AccountInFind => descriptor::find_has_no_account_yet,
                "descriptor puts {account} into find's paths", "refused at admission";
            PrivateDefault => descriptor::a_default_base_url_names_a_host,
                "descriptor's default base URL is an address, has user info or a query", "refused at admission";
            KeyInHost => descriptor::a_key_cannot_ride_in_a_reserved_header,
                "descriptor sends a key in Host or Transfer-Encoding", "refused at admission";
            CallImports => descriptor::no_import_works_while_it_is_asked_for,
                "describe calls imports", "no capabilities in its store: trap";
            Endless => descriptor::describing_has_a_cpu_limit,
                "describe spins", "CPU limit and wall clock";
            Changing => descriptor::it_is_taken_once,
                "descriptor that changes between calls", "taken once, at admission; every call begins in a fresh store";
        }
    };
}

macro_rules! define_attacks {
    ($($name:ident => $room:ident :: $test:ident, $what:literal, $stops:literal;)*) => {
        /// What the guest does instead of its work.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Attack { $($name),* }

        impl Attack {
            /// All of them, with their names.
            pub(crate) const ALL: &[(&str, Attack)] = &[$((stringify!($name), Attack::$name)),*];
        }
    };
}
for_each_attack!(define_attacks);

macro_rules! define_lies {
    ($($name:ident => $room:ident :: $test:ident, $what:literal, $stops:literal;)*) => {
        /// What the guest says of itself instead of the truth.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Lie { $($name),* }

        impl Lie {
            /// All of them, with their names.
            pub(crate) const ALL: &[(&str, Lie)] = &[$((stringify!($name), Lie::$name)),*];
        }
    };
}
for_each_lie!(define_lies);

/// Stands in the component's data; the suite writes the name of a lie behind the colon. So one build tells them all.
pub(crate) const LIE_MARK: &str = "exeunt-hostile-lie:";
/// Bytes behind [`LIE_MARK`], blanks after the name.
pub(crate) const LIE_BYTES: usize = 24;
