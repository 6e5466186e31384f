//! Tokens, and what is behind them.

use exeunt::capability::{BLANK, Verb};
use exeunt::dispatch::run_job;
use exeunt::evidence::JobState;

use crate::attacks::Attack;
use crate::house::{CLIENT_SECRET, House, Report, STATIC_KEY, leaver};
use crate::server::{ACCESS_TOKEN, TokenPage, forms};

/// Fails if a secret is left anywhere: with the guest, in its log lines, in the record, in what the process logged.
fn no_secret_is_left(report: &Report, secrets: &[&str]) {
    let everything = report.everything().to_lowercase();
    for form in secrets.iter().flat_map(|secret| forms(secret)) {
        assert!(
            !everything.contains(&form.to_lowercase()),
            "{form} is left in {everything}"
        );
    }
    // The middle of it as well: a form that we did not think of, or one that is cut.
    for secret in secrets.iter().filter(|secret| secret.len() >= 24) {
        let middle = secret[8..24].to_lowercase();
        assert!(!everything.contains(&middle), "{middle} is left in {everything}");
    }
}

#[tokio::test]
pub(crate) async fn an_echoed_token_is_blanked_in_every_form() {
    let house = House::new().await;
    for (token, secret) in [("static", STATIC_KEY), ("jwt", ACCESS_TOKEN), ("client", ACCESS_TOKEN)] {
        let report = house.attack(Attack::EchoToken).token(token).run().await;
        assert!(
            report.told().matches(BLANK).count() >= 2 * forms(secret).len(),
            "{report:?}"
        );
        no_secret_is_left(&report, &[STATIC_KEY, ACCESS_TOKEN, CLIENT_SECRET]);
    }
}

#[tokio::test]
pub(crate) async fn a_token_that_is_echoed_later_is_blanked_too() {
    let house = House::new().await;
    for token in ["static", "jwt"] {
        let report = house.attack(Attack::EchoTokenLater).token(token).run().await;
        assert!(report.told().contains(BLANK), "{report:?}");
        no_secret_is_left(&report, &[STATIC_KEY, ACCESS_TOKEN]);
    }
}

#[tokio::test]
pub(crate) async fn an_echo_in_pieces_is_blanked() {
    let house = House::new().await;
    for (token, secret) in [("static", STATIC_KEY), ("jwt", ACCESS_TOKEN)] {
        let report = house.attack(Attack::EchoPieces).token(token).run().await;
        assert!(
            report.told().matches(BLANK).count() >= 2 * forms(secret).len(),
            "{report:?}"
        );
        no_secret_is_left(&report, &[secret]);
    }
}

#[tokio::test]
pub(crate) async fn what_a_token_was_minted_with_is_blanked_in_later_calls() {
    let house = House::new().await;
    for token in ["jwt", "client"] {
        house.api.token_page(TokenPage::Gives);
        let report = house.attack(Attack::EchoEarlier).token(token).run().await;
        assert!(report.told().contains(BLANK), "{report:?}");
        let remembered = house.api.remembered();
        let mut secrets: Vec<&str> = remembered.iter().map(String::as_str).collect();
        let signatures = remembered.iter().filter_map(|secret| secret.rsplit('.').next());
        secrets.extend(signatures.filter(|signature| signature.len() > 100));
        secrets.extend([CLIENT_SECRET, ACCESS_TOKEN]);
        assert!(remembered.len() >= 2, "the target was sent a secret");
        no_secret_is_left(&report, &secrets);
    }
}

#[tokio::test]
pub(crate) async fn a_guess_of_a_secret_that_is_right_ends_the_call() {
    let house = House::new().await;
    let hexadecimal = |text: &str| text.bytes().map(|byte| format!("{byte:02x}")).collect::<String>();
    // Half a piece: few enough to try all.
    let few = [
        &STATIC_KEY[..8],
        &hexadecimal(&STATIC_KEY[..8]),
        &hexadecimal(&STATIC_KEY[8..16]),
    ];
    few.iter().for_each(|guess| house.other.add(guess));
    let report = house.attack(Attack::GuessSecret).run().await;
    assert!(few.iter().all(|guess| report.told().contains(guess)), "{report:?}");
    for guess in [
        STATIC_KEY.to_owned(),
        hexadecimal(&STATIC_KEY[..16]),
        forms(CLIENT_SECRET).remove(3),
    ] {
        house.other.reset();
        house.other.add(&guess);
        let report = house.attack(Attack::GuessSecret).run().await;
        assert_eq!(report.limit(), "secrets from where none went");
        let denied = report.record.denied.as_deref().unwrap_or_default();
        assert!(denied.contains("of endpoint `other` holds a secret"), "{report:?}");
        no_secret_is_left(&report, &[STATIC_KEY, CLIENT_SECRET]);
    }
    // And nothing more of this connector's runs until somebody has looked.
    let connector = house.attack(Attack::GuessSecret).connector().await;
    let job = run_job(&connector, &leaver(), false).await;
    assert_eq!(job.state, JobState::Parked, "{}", job.reason);
    assert!(job.reason.contains("rotate the secret"), "{}", job.reason);
}

#[tokio::test]
pub(crate) async fn a_secret_that_the_guest_decodes_goes_no_further() {
    let house = House::new().await;
    for token in ["static", "jwt"] {
        let report = house.attack(Attack::Unscramble).token(token).run().await;
        assert_eq!(report.told(), format!("the attack came to its end: {BLANK}"));
        assert_eq!(report.record.exchanges[1].query, [(BLANK.to_owned(), BLANK.to_owned())]);
        let accounts = house
            .attack(Attack::Unscramble)
            .token(token)
            .kind("account")
            .run()
            .await;
        let Ok(Ok(found)) = &accounts.end else {
            panic!("{accounts:?}");
        };
        assert_eq!(found.matches(BLANK).count(), 5, "{found}");
        for report in [&report, &accounts] {
            // The target's own answer, backwards, is what the scrubber does not know.
            let everything = format!("{:?} {:?} {}", report.end, report.record.log, report.log);
            for secret in [STATIC_KEY, ACCESS_TOKEN] {
                assert!(!everything.contains(&secret[8..24]), "{everything}");
            }
        }
    }
}

#[tokio::test]
pub(crate) async fn an_echoed_assertion_is_blanked() {
    let house = House::new().await;
    for page in [TokenPage::Echoes, TokenPage::Gives] {
        for token in ["jwt", "client"] {
            house.api.token_page(page);
            let attack = house.attack(Attack::EchoAssertion).during(Verb::Mint).token(token);
            let report = attack.run().await;
            assert!(report.told().contains(BLANK), "{report:?}");
            let remembered = house.api.remembered();
            let mut secrets: Vec<&str> = remembered.iter().map(String::as_str).collect();
            // Header and claims of an assertion are no secret; its signature is.
            let signatures = remembered.iter().filter_map(|secret| secret.rsplit('.').next());
            secrets.extend(signatures.filter(|signature| signature.len() > 100));
            secrets.push(CLIENT_SECRET);
            assert!(secrets.len() >= 2, "the target was sent a secret");
            no_secret_is_left(&report, &secrets);
        }
    }
}

#[tokio::test]
pub(crate) async fn a_dropped_handle_is_gone() {
    let house = House::new().await;
    let report = house.attack(Attack::UseAfterDrop).during(Verb::Mint).run().await;
    assert!(report.trap().contains("handle"), "{report:?}");
}

#[tokio::test]
pub(crate) async fn a_borrowed_handle_cannot_be_dropped_twice() {
    let house = House::new().await;
    let report = house.attack(Attack::DropTwice).run().await;
    assert!(report.trap().contains("handle"), "{report:?}");
}

/// Where the exchange of a key is not in the operator's list, nothing is signed or sent.
#[tokio::test]
async fn the_exchange_of_a_key_is_a_request_that_must_be_granted() {
    let house = House::new().await;
    let exchange = |lines: &'static str| {
        let attack = house.attack(Attack::EchoAssertion).during(Verb::Mint).token("jwt");
        attack.lines(lines).run()
    };
    let withheld = exchange("reach = [\"mint GET api /hostile/{any}\"]").await;
    assert!(withheld.told().contains("mint POST api /token"), "{withheld:?}");
    assert!(withheld.record.exchanges.is_empty(), "{withheld:?}");
    let granted = exchange("reach = [\"mint POST api /token\", \"mint GET api /hostile/{any}\"]").await;
    assert_eq!(granted.record.exchanges[0].path, "/token");
}

/// The neighbour's token lives in the same process; its number means nothing here.
#[tokio::test]
pub(crate) async fn a_guessed_handle_leads_nowhere() {
    let house = House::new().await;
    for guess in [0, 2, 3, 64, 65_536, usize::MAX >> 34] {
        let report = house.attack(Attack::ForgeHandle).amount(guess).run().await;
        assert!(report.trap().contains("handle"), "{guess}: {report:?}");
        assert_eq!(report.arrived, 0);
    }
}

#[tokio::test]
pub(crate) async fn a_token_does_not_go_to_another_endpoint() {
    let house = House::new().await;
    let report = house.attack(Attack::TokenElsewhere).run().await;
    assert!(report.denied().contains("no endpoint `nowhere`"), "{report:?}");
    assert!(
        report.denied().contains("may not be sent to endpoint `other`"),
        "{report:?}"
    );
    assert!(house.other.arrived().is_empty());
}

#[tokio::test]
pub(crate) async fn mint_gets_one_token() {
    let house = House::new().await;
    let report = house.attack(Attack::TwoTokens).during(Verb::Mint).run().await;
    assert!(report.denied().contains("`mint` may ask for 1 token"), "{report:?}");
}

#[tokio::test]
pub(crate) async fn mint_cannot_hand_over_a_token_that_it_did_not_make() {
    let house = House::new().await;
    for guess in [0, 1, 64] {
        let report = house
            .attack(Attack::StrayToken)
            .during(Verb::Mint)
            .amount(guess)
            .run()
            .await;
        assert!(report.trap().contains("handle"), "{guess}: {report:?}");
    }
}

#[tokio::test]
pub(crate) async fn only_mint_gets_tokens() {
    let house = House::new().await;
    for verb in [Verb::Find, Verb::Read, Verb::Close, Verb::Page] {
        let report = house.attack(Attack::GrantWhileReading).during(verb).run().await;
        assert_eq!(report.denied(), "all three");
        assert!(report.record.exchanges.is_empty());
        let told = report.record.denied.unwrap_or_default();
        assert!(told.contains("only `mint` can"), "{told}");
    }
}

#[tokio::test]
pub(crate) async fn an_assertion_is_no_longer_than_allowed() {
    const TEN_YEARS: usize = 10 * 365 * 86_400;
    let house = House::new().await;
    let attack = |seconds| house.attack(Attack::LongAssertion).during(Verb::Mint).amount(seconds);
    for seconds in [TEN_YEARS, 3601] {
        let report = attack(seconds).run().await;
        assert!(report.denied().contains("max_assertion"), "{report:?}");
        assert!(report.record.exchanges.is_empty(), "nothing was signed");
    }
    assert!(attack(3600).run().await.told().contains("went out"));
    let granted = attack(TEN_YEARS).lines("max_assertion = \"3650d\"").run().await;
    assert!(granted.told().contains("went out"), "{granted:?}");
}
