//! The derives of Highwater. A team uses them through the facade, `highwater`.
//!
//! | derive | what it makes | attributes |
//! |---|---|---|
//! | [`Data`](derive@Data) | what stands in a contract: JSON, and its schema | `#[data(..)]` |
//! | [`Event`](derive@Event) | the events of a category, in all their versions | `#[event(..)]` |
//! | [`Command`](derive@Command) | the commands of a category, in all their versions | `#[command(..)]` |
//! | [`Rejection`](derive@Rejection) | the rules that a command can break | `#[rejection(..)]` |
//! | [`State`](derive@State) | what decisions ask about, as it lies in snapshots | `#[state(..)]` |
//! | [`Row`](derive@Row) | a row of a projection: its columns, and what is between them and values | `#[row(..)]`, `#[filter]`, `#[sort]` |
//!
//! Each but `Row` also implements `Clone`, `Debug`, `PartialEq`, `Eq` and `Hash`: whatever rules
//! work with can be stored and compared. What they emit names `::highwater::__private` alone, so a
//! crate that uses them needs the facade and nothing else. Errors name the field or the variant,
//! and say what is allowed.

mod attributes;
mod choice;
mod command;
mod data;
mod event;
mod migrations;
mod rejection;
mod row;
mod state;
mod values;
mod versions;

use proc_macro::TokenStream;
use syn::{DeriveInput, parse_macro_input};

/// A type that can stand in a contract: an object (named fields), a checked value (a tuple struct
/// of one field), or a choice (an enum).
///
/// | attribute | where | meaning |
/// |---|---|---|
/// | `#[data(flatten)]` | a field whose type is an object | its fields stand beside the others |
/// | `#[data(max = 500)]` | a field that is a number | a bound narrower than its type's |
/// | `#[data(try_from)]` | a tuple struct of one field | what is read goes through `TryFrom` of the field's type |
///
/// Doc comments become `description`. Unknown fields are refused, `Option` means absent, and `null`
/// is refused where it is not a `Change`.
#[proc_macro_derive(Data, attributes(data))]
pub fn data(input: TokenStream) -> TokenStream {
    emit(data::expand(&parse_macro_input!(input as DeriveInput)))
}

/// The events of a category: `#[event(category = "voucher")]` on the enum, `#[event("issued")]` on
/// each variant, `#[event("issued", old(IssuedV1))]` on one that was published in other versions,
/// the oldest first. Each old version is `Into` the next.
#[proc_macro_derive(Event, attributes(event))]
pub fn event(input: TokenStream) -> TokenStream {
    emit(event::expand(&parse_macro_input!(input as DeriveInput)))
}

/// The commands of a category, named after their variants (`GiveAway` is `give-away`).
///
/// | in `#[command(..)]` | meaning |
/// |---|---|
/// | `creates` | makes the aggregate: `POST /v1/vouchers` |
/// | `begins` | finds the aggregate or not |
/// | neither | needs its aggregate, else 404 |
/// | `expects_version` | 428 without `If-Match` |
/// | `codes("already-redeemed")` | every rejection that it can answer |
/// | `old(IssueV1)` | earlier versions that are still served, the oldest first, each `Into` the next |
/// | `check` | `payload.check(now)` says what a schema cannot |
/// | `"give-away"` | another name |
#[proc_macro_derive(Command, attributes(command))]
pub fn command(input: TokenStream) -> TokenStream {
    emit(command::expand(&parse_macro_input!(input as DeriveInput)))
}

/// The rules that a command can break: `#[rejection("insufficient", "{available} are available")]`.
/// Named fields are members of the problem that a caller sees; unnamed ones (`{0}`) only stand in
/// the text. An aggregate whose commands break no rule has an empty enum.
#[proc_macro_derive(Rejection, attributes(rejection))]
pub fn rejection(input: TokenStream) -> TokenStream {
    emit(rejection::expand(&parse_macro_input!(input as DeriveInput)))
}

/// What decisions ask about: `#[state(format = 1)]`, counted up whenever the form changes. All else
/// is as in [`Data`](derive@Data).
#[proc_macro_derive(State, attributes(state, data))]
pub fn state(input: TokenStream) -> TokenStream {
    emit(state::expand(&parse_macro_input!(input as DeriveInput)))
}

/// A row of a projection: `#[row(table = "vouchers")]`, with `#[filter]` and `#[sort]` on the
/// columns that a list may be filtered and sorted by. `#[json]`: a column of any type of a
/// contract, as JSON.
#[proc_macro_derive(Row, attributes(row, filter, sort, json))]
pub fn row(input: TokenStream) -> TokenStream {
    emit(row::expand(&parse_macro_input!(input as DeriveInput)))
}

/// The SQL files of a folder beside Cargo.toml, by number: `migrations!()` is those of
/// `migrations/`. They are called like `0001_vouchers.sql`.
#[proc_macro]
pub fn migrations(input: TokenStream) -> TokenStream {
    let folder = parse_macro_input!(input as Option<syn::LitStr>);
    emit(migrations::expand(folder.as_ref()))
}

fn emit(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(syn::Error::into_compile_error).into()
}
