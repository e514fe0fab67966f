//! `#[derive(Command)]`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::{DeriveInput, LitStr, Variant, meta::ParseNestedMeta};

use crate::{
    attributes, values,
    versions::{Version, Versions},
};

const ALLOWED: &str = "a name, creates, begins, expects_version, check, codes(\"..\") and \
                       old(FirstVersion) are all that is allowed in #[command(..)]";

struct Kind {
    variant: syn::Ident,
    versions: Versions,
    docs: String,
    name: LitStr,
    creates: bool,
    begins: bool,
    expects_version: bool,
    check: bool,
    codes: Vec<LitStr>,
}

pub fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let variants = attributes::variants(input, "Command")?;
    let kinds = variants.iter().map(Kind::read).collect::<syn::Result<Vec<_>>>()?;
    if let Some(second) = kinds.iter().filter(|kind| kind.creates).nth(1) {
        let message =
            format!("variant `{}`: one command of a category creates, not two", second.variant);
        return Err(attributes::error(second.variant.span(), message));
    }
    let (private, name, values) = (attributes::private(), &input.ident, values::all(input));
    let (table, parse) = (kinds.iter().map(Kind::table), kinds.iter().flat_map(Kind::parse));
    let schema = kinds
        .iter()
        .flat_map(|kind| kind.versions.schemas(&kind.name.value(), "Command", &kind.docs));
    let find = kinds.iter().enumerate().map(|(at, kind)| {
        let variant = &kind.variant;
        quote!(Self::#variant { .. } => &KINDS[#at])
    });
    let body = kinds.iter().map(|kind| {
        let variant = &kind.variant;
        match kind.versions.payload {
            Some(_) => quote!(Self::#variant(payload) => #private::to_json(payload)),
            None => quote!(Self::#variant { .. } => #private::to_json(&#private::Empty {})),
        }
    });
    let count = kinds.len();
    Ok(quote! {
        #values
        const _: () = {
            static KINDS: [#private::CommandKind; #count] = [#(#table),*];

            #[automatically_derived]
            impl #private::Command for #name {
                fn kinds() -> &'static [#private::CommandKind] {
                    &KINDS
                }

                fn kind(&self) -> &'static #private::CommandKind {
                    match self { #(#find),* }
                }

                fn parse(
                    name: &str,
                    version: u32,
                    body: &#private::Value,
                    now: #private::Timestamp,
                ) -> ::core::result::Result<Self, ::std::vec::Vec<#private::FieldError>> {
                    let _ = now;
                    match (name, version) {
                        #(#parse)*
                        _ => ::core::result::Result::Err(#private::unknown_command(name, version)),
                    }
                }

                fn body(&self) -> #private::Value {
                    match self { #(#body),* }
                }

                fn schema(
                    name: &str,
                    version: u32,
                ) -> ::core::option::Option<(#private::Schema, &'static str)> {
                    match (name, version) {
                        #(#schema)*
                        _ => ::core::option::Option::None,
                    }
                }
            }
        };
    })
}

impl Kind {
    fn read(variant: &Variant) -> syn::Result<Self> {
        let ident = &variant.ident;
        let mut kind = Self {
            variant: ident.clone(),
            versions: Versions::of(attributes::payload(variant, "Command")?),
            docs: attributes::docs(&variant.attrs),
            name: LitStr::new(&attributes::kebab(ident), ident.span()),
            creates: false,
            begins: false,
            expects_version: false,
            check: false,
            codes: Vec::new(),
        };
        for attribute in variant.attrs.iter().filter(|found| found.path().is_ident("command")) {
            let (name, rest) = attributes::split_name(attribute)?;
            kind.name = name.unwrap_or(kind.name);
            attributes::read_rest(rest.unwrap_or_default(), |meta| kind.set(&meta))?;
        }
        attributes::check_name(&kind.name, "a command")?;
        kind.codes.iter().try_for_each(|code| attributes::check_name(code, "a code"))?;
        kind.versions.check(ident)?;
        kind.refuse_what_contradicts()?;
        Ok(kind)
    }

    fn set(&mut self, meta: &ParseNestedMeta<'_>) -> syn::Result<()> {
        let named = |name: &str| meta.path.is_ident(name);
        if named("creates") {
            self.creates = true;
        } else if named("begins") {
            self.begins = true;
        } else if named("expects_version") {
            self.expects_version = true;
        } else if named("check") {
            self.check = true;
        } else if named("codes") {
            self.codes = attributes::texts(meta)?;
        } else if named("old") {
            self.versions.old = attributes::paths(meta)?;
        } else {
            return Err(meta.error(format!("variant `{}`: {ALLOWED}", self.variant)));
        }
        Ok(())
    }

    fn refuse_what_contradicts(&self) -> syn::Result<()> {
        let why = if self.creates && self.begins {
            "`creates` finds nothing, `begins` finds the aggregate or not: one of them"
        } else if self.creates && self.expects_version {
            "what `creates` cannot expect a version"
        } else if self.check && self.versions.payload.is_none() {
            "`check` is a method of the payload, and there is none"
        } else {
            return Ok(());
        };
        Err(self.wrong(self.variant.span(), why))
    }

    fn wrong(&self, span: Span, why: &str) -> syn::Error {
        attributes::error(span, format!("variant `{}`: {why}", self.variant))
    }

    fn table(&self) -> TokenStream {
        let private = attributes::private();
        let Self { name, codes, expects_version, .. } = self;
        let versions = self.versions.count();
        let target = match (self.creates, self.begins) {
            (true, _) => quote!(Creates),
            (_, true) => quote!(Begins),
            _ => quote!(Needs),
        };
        quote! {
            #private::CommandKind {
                name: #name,
                versions: #versions,
                target: #private::Target::#target,
                expects_version: #expects_version,
                codes: &[#(#codes),*],
            }
        }
    }

    fn parse(&self) -> Vec<TokenStream> {
        let (private, name, creates) = (attributes::private(), &self.name, self.creates);
        let check = self.check.then(|| quote!(data.check(now)?;));
        let made = self.versions.made(&self.variant);
        let arm = |Version { number, kind, upcast, .. }: Version| {
            quote! {
                (#name, #number) => {
                    let data: #kind = #private::body(body, #creates)?;
                    #upcast
                    #check
                    ::core::result::Result::Ok(#made)
                }
            }
        };
        self.versions.all().into_iter().map(arm).collect()
    }
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn errors_name_the_variant_and_what_is_allowed() {
        for (variant, expected) in [
            (
                quote!(
                    #[command(makes)]
                    Issue(Issue)
                ),
                "variant `Issue`: a name, creates, begins",
            ),
            (
                quote!(
                    #[command(creates, begins)]
                    Issue(Issue)
                ),
                "variant `Issue`: `creates` finds",
            ),
            (
                quote!(
                    #[command(creates, expects_version)]
                    Issue
                ),
                "variant `Issue`: what `creates`",
            ),
            (
                quote!(
                    #[command(check)]
                    Issue
                ),
                "variant `Issue`: `check` is a method",
            ),
            (
                quote!(
                    #[command(codes("Late"))]
                    Issue
                ),
                "`Late` is no name of a code",
            ),
            (quote!(Issue(A, B)), "variant `Issue` of Command holds one type"),
            (
                quote!(
                    #[command(creates)]
                    A,
                    #[command(creates)]
                    B
                ),
                "variant `B`: one command",
            ),
        ] {
            let found = expand(&parse_quote!(enum VoucherCommand { #variant }));
            let found = found.map_or_else(|error| error.to_string(), |_| String::new());
            assert!(found.starts_with(expected), "{found}");
        }
    }

    #[test]
    fn a_command_is_named_after_its_variant() {
        let input = parse_quote!(
            enum VoucherCommand {
                #[command(creates, old(IssueV1))]
                Issue(Issue),
                SetAmount(SetAmount),
                #[command("take-back", expects_version, codes("late"))]
                Return,
            }
        );
        let expanded = expand(&input).map(|expanded| expanded.to_string()).unwrap_or_default();
        for name in ["(\"issue\" , 1u32)", "(\"issue\" , 2u32)", "(\"set-amount\" , 1u32)"] {
            assert!(expanded.contains(name), "{name}");
        }
        assert!(expanded.contains("(\"take-back\" , 1u32)") && !expanded.contains("\"return\""));
    }
}
