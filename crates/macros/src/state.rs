//! `#[derive(State)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, LitInt};

use crate::{attributes, data};

pub fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    let mut format: Option<LitInt> = None;
    attributes::read(&input.attrs, "state", |meta| {
        if !meta.path.is_ident("format") {
            return Err(meta.error("#[state(format = 1)] is all that is allowed here"));
        }
        format = Some(meta.value()?.parse()?);
        Ok(())
    })?;
    let Some(format) = format else {
        return Err(attributes::error(
            input.ident.span(),
            "#[state(format = 1)] is missing: the number of the form in snapshots, counted up \
             whenever the form changes",
        ));
    };
    if !format.base10_parse::<i16>().is_ok_and(|format| format > 0) {
        return Err(attributes::error(format.span(), "the format is a number from 1 to 32767"));
    }
    let (data, private, name) = (data::expand(input)?, attributes::private(), &input.ident);
    Ok(quote! {
        #data
        #[automatically_derived]
        impl #private::State for #name {
            const FORMAT: i16 = #format;
        }
    })
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn a_state_has_a_format() {
        let said = |input: DeriveInput| expand(&input).map_err(|error| error.to_string());
        let missing = said(parse_quote!(
            struct Voucher {
                redeemed: bool,
            }
        ));
        assert!(missing.is_err_and(|said| said.starts_with("#[state(format = 1)] is missing")));
        let zero = said(parse_quote!(
            #[state(format = 0)]
            struct Voucher {
                redeemed: bool,
            }
        ));
        assert!(zero.is_err_and(|said| said.contains("from 1 to 32767")));
        let other = said(parse_quote!(
            #[state(fromat = 1)]
            struct Voucher {
                redeemed: bool,
            }
        ));
        assert!(other.is_err_and(|said| said.contains("all that is allowed here")));
        assert!(
            said(parse_quote!(
                #[state(format = 1)]
                struct Voucher {
                    redeemed: bool,
                }
            ))
            .is_ok()
        );
    }
}
