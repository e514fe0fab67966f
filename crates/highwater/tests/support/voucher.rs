//! A voucher: issued in three versions, redeemed once, given away by its holder.

#![expect(clippy::expect_used, reason = "values that are known to fit")]

use highwater::prelude::*;

/// Who holds vouchers.
pub enum Holder {}

#[derive(Event)]
#[event(category = "voucher")]
pub enum VoucherEvent {
    #[event("issued", old(IssuedV1, IssuedV2))]
    Issued(Issued),
    #[event("given-away")]
    GivenAway(GivenAway),
    /// The voucher was used up.
    #[event("redeemed")]
    Redeemed,
}

/// A voucher was issued, long ago.
#[derive(Data)]
pub struct IssuedV1 {
    pub amount_minor: Money,
}

/// A voucher was issued in a currency.
#[derive(Data)]
pub struct IssuedV2 {
    pub amount_minor: Money,
    pub currency: Currency,
}

/// A voucher was issued.
#[derive(Data)]
pub struct Issued {
    /// What it is worth.
    #[data(flatten)]
    pub worth: Worth,
    pub note: Option<Text<10>>,
    pub parts: Parts,
    pub kind: Kind,
}

#[derive(Data)]
pub struct Worth {
    /// Minor units.
    pub amount_minor: Money,
    pub currency: Currency,
}

#[derive(Data)]
pub enum Kind {
    Plain,
    Gift(Text<5>),
    Season { until: Timestamp },
}

/// What it is made of: at most 100 in all.
#[derive(Data)]
#[data(try_from)]
pub struct Parts(List<Part, 3>);

#[derive(Data)]
pub struct Part {
    #[data(max = 50)]
    pub units: Quantity,
}

impl TryFrom<List<Part, 3>> for Parts {
    type Error = &'static str;

    fn try_from(parts: List<Part, 3>) -> Result<Self, &'static str> {
        let all: i64 = parts.iter().map(|part| part.units.get()).sum();
        if all <= 100 { Ok(Self(parts)) } else { Err("must be at most 100 in all") }
    }
}

impl Parts {
    pub fn one() -> Self {
        let parts = List::try_from(vec![Part { units: Quantity::ONE }]);
        Self(parts.expect("one part fits"))
    }
}

/// Another holder has it.
#[derive(Copy, Data)]
pub struct GivenAway {
    pub to: Id<Holder>,
    pub by: Id<Holder>,
    pub command: Id<GivenAway>,
}

impl From<IssuedV1> for IssuedV2 {
    fn from(IssuedV1 { amount_minor }: IssuedV1) -> Self {
        Self { amount_minor, currency: "EUR".try_into().expect("a currency") }
    }
}

impl From<IssuedV2> for Issued {
    fn from(IssuedV2 { amount_minor, currency }: IssuedV2) -> Self {
        let worth = Worth { amount_minor, currency };
        Self { worth, note: None, parts: Parts::one(), kind: Kind::Plain }
    }
}

#[derive(Command)]
pub enum VoucherCommand {
    #[command(creates, check, old(IssuedV2))]
    Issue(Issued),
    #[command(codes("already-redeemed"))]
    GiveAway(GiveAway),
    /// Uses it up.
    #[command(expects_version, codes("already-redeemed"))]
    Redeem,
    /// Is found or not.
    #[command("look-at", begins)]
    Look,
}

/// Gives it away.
#[derive(Copy, Data)]
pub struct GiveAway {
    /// Who gets it.
    pub to: Id<Holder>,
}

impl Issued {
    fn check(&self, now: Timestamp) -> Result<(), Vec<FieldError>> {
        match &self.kind {
            Kind::Season { until } if *until < now => {
                Err(vec![FieldError::new("/kind/season/until", "must be ahead")])
            }
            _ => Ok(()),
        }
    }
}

#[derive(Rejection)]
pub enum VoucherRejection {
    #[rejection("already-redeemed", "that it is redeemed is {redeemed}")]
    AlreadyRedeemed { redeemed: bool },
    #[rejection("forgotten", "no command lists it, but {0} answers {{0}} with it")]
    Forgotten(Timestamp),
}

#[derive(State)]
#[state(format = 3)]
pub struct Voucher {
    pub kind: Kind,
    pub redeemed: bool,
}

impl Aggregate for Voucher {
    type Command = VoucherCommand;
    type Event = VoucherEvent;
    type Rejection = VoucherRejection;

    fn decide(
        voucher: Option<&Self>,
        command: &VoucherCommand,
        context: &Context,
    ) -> Decision<Self> {
        let is_redeemed = || match voucher.ok_or(Missing) {
            Ok(voucher) if voucher.redeemed => {
                Err(VoucherRejection::AlreadyRedeemed { redeemed: true }.into())
            }
            found => found.map(|_| ()).map_err(highwater::Refusal::from),
        };
        match command {
            VoucherCommand::Issue(issue) => accept(issue.clone()),
            VoucherCommand::GiveAway(give) => {
                is_redeemed()?;
                let (by, command) = (context.principal().into(), context.command_id().into());
                accept(GivenAway { to: give.to, by, command })
            }
            VoucherCommand::Redeem => {
                is_redeemed()?;
                accept(VoucherEvent::Redeemed)
            }
            VoucherCommand::Look if voucher.is_none() => nothing(),
            VoucherCommand::Look => reject(VoucherRejection::Forgotten(context.time())),
        }
    }

    fn evolve(voucher: Option<&Self>, event: &VoucherEvent) -> Result<Self, Unreadable> {
        match (voucher, event) {
            (None, VoucherEvent::Issued(issued)) => {
                Ok(Self { kind: issued.kind.clone(), redeemed: false })
            }
            (Some(voucher), VoucherEvent::GivenAway(_)) => Ok(voucher.clone()),
            (Some(voucher), VoucherEvent::Redeemed) => {
                Ok(Self { redeemed: true, ..voucher.clone() })
            }
            _ => Err(event.unexpected("a voucher is issued first, and once")),
        }
    }
}
