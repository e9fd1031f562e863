//! Entering a policy: what is skipped and why, what is deferred, and what is sent to which address in which language.

use super::*;
use crate::{
    channel::{Address, AddressKind},
    consent::{self, Consent},
    fallback::facts::{ContentFact, QuietRule, TemplateFact},
    quiet_hours::Window,
};
use proptest::prelude::*;

const WHATSAPP: i32 = 1;
const SMS: i32 = 2;
const SECOND_SMS: i32 = 3;
const VOICE: i32 = 4;

/// A world that a test bends before it enters the policy.
struct World {
    policy: Policy,
    recipient: RecipientFacts,
    channels: ChannelFacts,
    now: DateTime<Utc>,
    from_step: usize,
    valid_until: Option<DateTime<Utc>>,
    because: Option<Reason>,
    template: Option<&'static str>,
}

/// WhatsApp, then any SMS channel, then a call, then the office's list; a phone in Delhi; noon there.
fn world() -> World {
    let to = |channel: &str| Step::to(Target::Channel(channel.into()));
    let channel = |key, slug: &str, channel_type| ChannelFact {
        key,
        slug: slug.into(),
        channel_type,
        scheme: None,
        enabled: true,
        parked: false,
        providers_down_until: None,
    };
    let phone = Address { kind: AddressKind::Phone, value: "+919812345678".into() };
    World {
        policy: Policy {
            steps: vec![
                to("wa"),
                Step::to(Target::ChannelType(ChannelType::Sms)),
                to("ivr"),
                Step::to(Target::CallList("office".into())),
            ],
            at_least_once: false,
            purpose: consent::SERVICE.into(),
        },
        recipient: RecipientFacts {
            time_zone: chrono_tz::Asia::Kolkata,
            locale: None,
            addresses: vec![AddressFacts::new(7, phone)],
            variables: vec![],
        },
        channels: ChannelFacts {
            channels: vec![
                channel(WHATSAPP, "wa", ChannelType::Whatsapp),
                channel(SMS, "sms-a", ChannelType::Sms),
                channel(SECOND_SMS, "sms-b", ChannelType::Sms),
                channel(VOICE, "ivr", ChannelType::Voice),
            ],
            quiet_hours: vec![],
            templates: vec![],
        },
        now: utc("2026-11-20T06:30:00Z"),
        from_step: 0,
        valid_until: None,
        because: None,
        template: None,
    }
}

fn utc(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

impl World {
    fn enter(&self) -> Entered {
        let entry = Entry {
            from_step: self.from_step,
            purpose: "reminder",
            template: self.template,
            valid_until: self.valid_until,
            planned_at: utc("2026-11-20T06:00:00Z"),
            because: self.because,
            now: self.now,
        };
        enter(&self.policy, &self.recipient, &self.channels, &entry)
    }

    fn channel(&mut self, key: i32) -> &mut ChannelFact {
        self.channels.channels.iter_mut().find(|c| c.key == key).unwrap()
    }

    fn opt_out(&mut self, channel_type: ChannelType) {
        let consent = Consent { channel_type, purpose: consent::ALL.into(), opted_out: true };
        self.recipient.addresses[0].consents.push(consent);
    }

    fn quiet(&mut self, channel_type: ChannelType, purpose: &str, window: &str) {
        let window = Window::parse(window).unwrap();
        self.channels.quiet_hours.push(QuietRule { channel_type, purpose: purpose.into(), window });
    }

    fn template(&mut self, channel_type: ChannelType, contents: &[(&str, bool, &[&str])]) {
        let content = |(language, needs_window, variables): &(&str, bool, &[&str])| ContentFact {
            language: Locale::parse(language).unwrap(),
            needs_window: *needs_window,
            variables: variables.iter().map(|v| (*v).to_owned()).collect(),
        };
        self.template = Some("flood");
        self.channels.templates.push(TemplateFact {
            slug: "flood".into(),
            channel_type,
            default_language: Locale::parse("en").unwrap(),
            contents: contents.iter().map(content).collect(),
        });
    }
}

impl Entered {
    fn reasons(&self) -> Vec<(usize, Option<i32>, Reason)> {
        self.skipped.iter().map(|s| (s.step, s.channel, s.reason)).collect()
    }

    fn sent(&self) -> Option<&Send> {
        match &self.then {
            Then::Send(send) => Some(send),
            _ => None,
        }
    }

    fn channel(&self) -> Option<i32> {
        self.sent().map(|s| s.channel)
    }
}

#[test]
fn the_first_step_that_applies_is_sent() {
    let entered = world().enter();
    assert_eq!(entered.skipped, []);
    let send = entered.sent().unwrap();
    assert_eq!((send.step, send.channel, send.address_id, send.valid_until), (0, WHATSAPP, 7, None));
}

#[test]
fn a_step_that_cannot_apply_is_skipped_with_its_reason() {
    type Change = fn(&mut World);
    let cases: [(Reason, Change); 8] = [
        (Reason::OptedOut, |w| w.opt_out(ChannelType::Whatsapp)),
        (Reason::FrequencyCap, |w| w.recipient.addresses[0].capped = vec![ChannelType::Whatsapp]),
        (Reason::ChannelDisabled, |w| w.channel(WHATSAPP).enabled = false),
        (Reason::ChannelParked, |w| w.channel(WHATSAPP).parked = true),
        (Reason::ProviderDown, |w| w.channel(WHATSAPP).providers_down_until = Some(utc("2026-11-20T07:00:00Z"))),
        (Reason::QuietHours, |w| {
            w.policy.steps[0].quiet_hours = QuietHours::Skip;
            w.quiet(ChannelType::Whatsapp, "*", "11:00-13:00");
        }),
        (Reason::NoTemplateContent, |w| w.template(ChannelType::Sms, &[("en", false, &[])])),
        (Reason::WindowClosed, |w| {
            w.template(ChannelType::Sms, &[("en", false, &[])]);
            w.template(ChannelType::Whatsapp, &[("en", true, &[])]);
        }),
    ];
    for (reason, change) in cases {
        let mut world = world();
        change(&mut world);
        let entered = world.enter();
        assert_eq!(entered.reasons(), [(0, Some(WHATSAPP), reason)]);
        assert_eq!(entered.channel(), Some(SMS), "{reason}");
    }
}

#[test]
fn a_channel_type_leads_to_its_first_channel_that_can_be_used() {
    let mut world = world();
    world.from_step = 1;
    world.channel(SMS).parked = true;
    let entered = world.enter();
    assert_eq!(entered.reasons(), [(1, Some(SMS), Reason::ChannelParked)]);
    assert_eq!(entered.channel(), Some(SECOND_SMS));
    world.channels.channels.retain(|c| c.channel_type != ChannelType::Sms);
    let entered = world.enter();
    assert_eq!(entered.reasons(), [(1, None, Reason::ChannelDisabled)]);
    assert_eq!(entered.channel(), Some(VOICE));
}

#[test]
fn the_first_address_that_may_be_written_to_is_used() {
    let mut world = world();
    let second = Address { kind: AddressKind::Phone, value: "+919800000000".into() };
    let user_id = Address { kind: AddressKind::WhatsappUser, value: "IN.1349".into() };
    world.recipient.addresses.insert(0, AddressFacts::new(5, user_id));
    world.recipient.addresses.push(AddressFacts::new(8, second));
    assert_eq!(world.enter().sent().map(|s| s.address_id), Some(7), "a phone is preferred to a user id");
    world.recipient.addresses[1].suppressed = true;
    assert_eq!(world.enter().sent().map(|s| s.address_id), Some(8));
    world.recipient.addresses[2].suppressed = true;
    assert_eq!(world.enter().sent().map(|s| s.address_id), Some(5));
    world.recipient.addresses.remove(0);
    assert_eq!(world.enter().reasons()[0], (0, Some(WHATSAPP), Reason::Suppressed));
    world.recipient.addresses.clear();
    assert_eq!(world.enter().reasons()[0], (0, Some(WHATSAPP), Reason::NoAddress));
}

#[test]
fn nobody_reached_ends_on_the_call_list_or_exhausted() {
    let mut world = world();
    world.recipient.addresses.clear();
    assert_eq!(world.enter().then, Then::CallList { step: 3, call_list: "office".into() });
    world.policy.steps.pop();
    assert_eq!(world.enter().then, Then::Exhausted { reason: Reason::NoAddress });
    world.because = Some(Reason::NoReply);
    assert_eq!(world.enter().then, Then::Exhausted { reason: Reason::NoReply });
    world.from_step = 3;
    world.because = None;
    assert_eq!(world.enter().then, Then::Exhausted { reason: Reason::NoStepLeft });
}

#[test]
fn who_refused_every_channel_is_not_put_on_the_call_list() {
    let refusal = |channel_type| Consent { channel_type, purpose: consent::ALL.into(), opted_out: true };
    let mut world = world();
    world.recipient.addresses[0].consents =
        vec![refusal(ChannelType::Whatsapp), refusal(ChannelType::Sms), refusal(ChannelType::Voice)];
    let entered = world.enter();
    assert_eq!(entered.then, Then::Exhausted { reason: Reason::OptedOut });
    assert_eq!(entered.reasons().last(), Some(&(3, None, Reason::OptedOut)));
    // Something was tried before, or one channel fails for another reason: a person may call.
    world.because = Some(Reason::NoReply);
    assert_eq!(world.enter().then, Then::CallList { step: 3, call_list: "office".into() });
    world.because = None;
    world.channels.channels.retain(|channel| channel.key != VOICE);
    assert_eq!(world.enter().then, Then::CallList { step: 3, call_list: "office".into() });
}

#[test]
fn an_end_is_skipped_or_exhausted_by_whether_anything_was_sent() {
    let exhausted = Then::Exhausted { reason: Reason::OptedOut };
    assert_eq!(exhausted.ends(false), Some((Event::NothingApplies, Reason::OptedOut)));
    assert_eq!(exhausted.ends(true), Some((Event::StepsUsedUp, Reason::OptedOut)));
    let list = Then::CallList { step: 3, call_list: "office".into() };
    assert_eq!(list.ends(false), Some((Event::StepsUsedUp, Reason::OnCallList)));
    assert_eq!(Then::Expired.ends(true), Some((Event::ValidityPassed, Reason::ValidityPassed)));
    assert_eq!(world().enter().then.ends(false), None);
}

#[test]
fn quiet_hours_defer_in_the_contacts_zone() {
    let mut world = world();
    world.quiet(ChannelType::Whatsapp, "*", "21:00-09:00");
    world.now = utc("2026-11-20T16:00:00Z");
    let until = utc("2026-11-21T03:30:00Z");
    let deferred = Then::Defer { step: 0, until, reason: Reason::QuietHours };
    assert_eq!(world.enter().then, deferred);
    world.policy.steps[0].quiet_hours = QuietHours::Ignore;
    assert_eq!(world.enter().channel(), Some(WHATSAPP));
}

#[test]
fn a_step_is_not_deferred_beyond_its_validity() {
    let mut world = world();
    world.quiet(ChannelType::Whatsapp, "*", "21:00-09:00");
    world.now = utc("2026-11-20T16:00:00Z");
    world.policy.steps[0].valid_for = Some(TimeDelta::hours(2));
    let entered = world.enter();
    assert_eq!(entered.reasons(), [(0, Some(WHATSAPP), Reason::QuietHours)]);
    assert_eq!(entered.channel(), Some(SMS));
    world.policy.steps[0].valid_for = None;
    world.valid_until = Some(utc("2026-11-21T03:30:00Z"));
    assert_eq!(world.enter().channel(), Some(SMS));
}

#[test]
fn quiet_hours_of_the_purpose_replace_those_of_all() {
    let mut world = world();
    world.quiet(ChannelType::Whatsapp, "*", "11:00-13:00");
    world.quiet(ChannelType::Whatsapp, "reminder", "18:00-10:00");
    world.quiet(ChannelType::Sms, "reminder", "11:00-13:00");
    assert_eq!(world.enter().channel(), Some(WHATSAPP));
}

#[test]
fn what_is_no_longer_valid_is_expired() {
    let mut world = world();
    world.valid_until = Some(world.now);
    assert_eq!(world.enter(), Entered { skipped: vec![], then: Then::Expired });
    world.valid_until = Some(world.now + TimeDelta::minutes(5));
    world.policy.steps[0].valid_for = Some(TimeDelta::minutes(2));
    assert_eq!(world.enter().sent().unwrap().valid_until, Some(world.now + TimeDelta::minutes(2)));
}

#[test]
fn languages_go_from_the_contacts_own_to_the_templates_default() {
    type Case = (Option<&'static str>, &'static [&'static str], Result<&'static str, Reason>);
    let cases: [Case; 7] = [
        (Some("hi-IN"), &["en", "hi", "hi-IN"], Ok("hi-IN")),
        (Some("hi-IN"), &["en", "hi"], Ok("hi")),
        (Some("hi-IN"), &["en", "ta"], Ok("en")),
        (Some("hi-IN"), &["ta"], Err(Reason::NoTemplateLanguage)),
        (Some("hi"), &["hi-IN"], Err(Reason::NoTemplateLanguage)),
        (None, &["hi", "en"], Ok("en")),
        (None, &[], Err(Reason::NoTemplateContent)),
    ];
    for (locale, languages, expected) in cases {
        let mut world = world();
        world.recipient.locale = locale.map(|l| Locale::parse(l).unwrap());
        let contents: Vec<(&str, bool, &[&str])> = languages.iter().map(|l| (*l, false, &[] as &[&str])).collect();
        world.template(ChannelType::Whatsapp, &contents);
        let entered = world.enter();
        match expected {
            Ok(language) => assert_eq!(entered.sent().unwrap().language.as_ref().unwrap().as_str(), language),
            Err(reason) => assert_eq!(entered.reasons()[0], (0, Some(WHATSAPP), reason), "{locale:?} {languages:?}"),
        }
    }
}

#[test]
fn content_for_an_open_window_is_sent_while_it_is_open() {
    let mut world = world();
    world.template(ChannelType::Whatsapp, &[("en", true, &[]), ("en", false, &["name"])]);
    world.recipient.variables = vec!["name".into()];
    assert!(!world.enter().sent().unwrap().needs_window);
    world.recipient.addresses[0].service_window_until = Some(world.now + TimeDelta::seconds(1));
    assert!(world.enter().sent().unwrap().needs_window);
    world.recipient.addresses[0].service_window_until = Some(world.now);
    assert!(!world.enter().sent().unwrap().needs_window);
    world.recipient.variables.clear();
    assert_eq!(world.enter().reasons()[0].2, Reason::TemplateVariableMissing);
}

#[test]
fn an_outage_costs_its_step_only_while_another_can_be_sent() {
    let mut world = world();
    world.policy.steps.truncate(2);
    world.channel(WHATSAPP).providers_down_until = Some(utc("2026-11-20T06:40:00Z"));
    assert_eq!(world.enter().channel(), Some(SMS));
    world.opt_out(ChannelType::Sms);
    let until = utc("2026-11-20T06:40:00Z");
    assert_eq!(world.enter().then, Then::Defer { step: 0, until, reason: Reason::ProviderDown });
    world.valid_until = Some(until);
    assert_eq!(world.enter().then, Then::Exhausted { reason: Reason::OptedOut });
    world.valid_until = None;
    world.now = utc("2026-11-21T06:00:00Z");
    world.channel(WHATSAPP).providers_down_until = Some(utc("2026-11-21T06:40:00Z"));
    assert_eq!(world.enter().then, Then::Exhausted { reason: Reason::OptedOut }, "a day after planning it ends");
}

proptest! {
    #[test]
    fn entering_goes_forward_and_never_into_the_past(
        from in 0_usize..5, bits in any::<u32>(), hour in 0_i64..48, valid in prop::option::of(1_i64..72),
    ) {
        let mut world = world();
        let bit = |n: u32| bits & (1 << n) != 0;
        world.from_step = from;
        world.now += TimeDelta::hours(hour);
        world.valid_until = valid.map(|h| utc("2026-11-20T06:30:00Z") + TimeDelta::hours(h));
        let down = Some(world.now + TimeDelta::minutes(1));
        for (n, channel) in (0_u32..).zip(world.channels.channels.iter_mut()) {
            channel.enabled = bit(n);
            channel.parked = bit(n + 4) && bit(n + 8);
            channel.providers_down_until = down.filter(|_| bit(n + 12));
        }
        if bit(16) { world.opt_out(ChannelType::Sms); }
        if bit(17) { world.quiet(ChannelType::Whatsapp, "*", "21:00-09:00"); }
        if bit(18) { world.quiet(ChannelType::Voice, "*", "21:00-09:00"); }
        if bit(19) { world.policy.steps.pop(); }
        let entered = world.enter();
        prop_assert!(entered.skipped.iter().all(|s| s.step >= from));
        prop_assert!(entered.skipped.is_sorted_by_key(|s| s.step));
        match entered.then {
            Then::Send(send) => {
                prop_assert!(send.step >= from);
                prop_assert!(send.valid_until.is_none_or(|until| until > world.now));
                let channel = world.channels.channels.iter().find(|c| c.key == send.channel).unwrap();
                prop_assert_eq!(channel.usable(world.now), Ok(()));
            }
            Then::Defer { step, until, .. } => {
                prop_assert!(step >= from && until > world.now);
                prop_assert!(world.valid_until.is_none_or(|end| end > until));
            }
            Then::CallList { step, .. } => prop_assert!(step >= from),
            Then::Expired => prop_assert!(world.valid_until.is_some_and(|until| until <= world.now)),
            Then::Exhausted { .. } => {}
        }
    }
}
