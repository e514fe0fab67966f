//! `#[derive(Row)]`: a table's columns, and what is between them and a struct. Never SQL.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Field, Fields, LitStr, ext::IdentExt};

use crate::{attributes, values};

/// The library adds these.
const OWN: [&str; 3] = ["id", "partition", "version"];

pub fn expand(input: &DeriveInput) -> syn::Result<TokenStream> {
    attributes::refuse_generics(input)?;
    let TableNames { table, public } = named(input)?;
    let fields = match &input.data {
        syn::Data::Struct(data) => match &data.fields {
            Fields::Named(fields) => fields.named.iter().collect::<Vec<_>>(),
            _ => Vec::new(),
        },
        _ => Vec::new(),
    };
    if fields.is_empty() {
        let message = "Row is derived for a struct with named fields, one a column";
        return Err(attributes::error(input.ident.span(), message));
    }
    let columns = fields.iter().map(|field| column(field)).collect::<syn::Result<Vec<_>>>()?;
    let (private, name) = (attributes::private(), &input.ident);
    let names: Vec<_> = fields.iter().filter_map(|field| field.ident.as_ref()).collect();
    let to = fields.iter().map(|field| {
        let name = &field.ident;
        if is_marked(field, "json") {
            quote!(#private::json_cell(&self.#name))
        } else {
            quote!(#private::Column::cell(&self.#name))
        }
    });
    let from = fields.iter().map(|field| {
        let text = field.ident.as_ref().map(|name| name.unraw().to_string());
        if is_marked(field, "json") {
            quote!(#private::json_of(cells.next(), #text)?)
        } else {
            quote!(#private::of_cell(cells.next(), #text)?)
        }
    });
    let shown: Vec<_> = names.iter().map(|name| name.unraw().to_string()).collect();
    let filters = marked(&fields, "filter");
    let sorts =
        marked(&fields, "sort").into_iter().flat_map(|name| [name.clone(), format!("-{name}")]);
    let never_null = fields.iter().filter(|field| is_marked(field, "sort")).map(|field| {
        let (kind, name) = (&field.ty, &field.ident);
        let text = format!("field `{}`: rows are not sorted by what may be absent", quote!(#name));
        quote!(::core::assert!(!<#kind as #private::Column>::NULLABLE, #text);)
    });
    let (cloned, equal) = (values::cloned_and_shown(input), values::equal(input));
    Ok(quote! {
        #cloned
        #equal
        const _: () = { #(#never_null)* };
        #[automatically_derived]
        impl #private::Row for #name {
            const TABLE: &'static str = #table;
            const COLUMNS: &'static [#private::ColumnSpec] = &[#(#columns),*];
            const FIELDS: &'static [&'static str] = &["id", "version", #(#shown),*];
            const FILTERS: &'static [&'static str] = &[#(#filters),*];
            const SORTS: &'static [&'static str] = &[#(#sorts),*];
            const PUBLIC: ::core::option::Option<&'static str> = #public;

            fn cells(&self) -> ::std::vec::Vec<#private::Cell> {
                ::std::vec![#(#to),*]
            }

            fn from_cells(
                cells: ::std::vec::Vec<#private::Cell>,
            ) -> ::core::result::Result<Self, #private::UnfitCell> {
                let mut cells = cells.into_iter();
                ::core::result::Result::Ok(Self { #(#names: #from),* })
            }
        }
    })
}

struct TableNames {
    table: LitStr,
    /// An `Option` in the emitted code.
    public: TokenStream,
}

fn named(input: &DeriveInput) -> syn::Result<TableNames> {
    let (mut table, mut public): (Option<LitStr>, Option<LitStr>) = (None, None);
    attributes::read(&input.attrs, "row", |meta| {
        let value = if meta.path.is_ident("table") {
            &mut table
        } else if meta.path.is_ident("public") {
            &mut public
        } else {
            let allowed = "table = \"vouchers\" and public = \"max-age=5\" are all that is allowed";
            return Err(meta.error(allowed));
        };
        *value = Some(meta.value()?.parse()?);
        Ok(())
    })?;
    let table = table.ok_or_else(|| {
        let message = format!("#[row(table = \"..\")] is missing on `{}`", input.ident);
        attributes::error(input.ident.span(), message)
    })?;
    let fits =
        |letter: char| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '_';
    if table.value().is_empty() || !table.value().chars().all(fits) {
        let message = "a table's name is lower-case letters, digits and underscores";
        return Err(attributes::error(table.span(), message));
    }
    let public = match public {
        None => quote!(::core::option::Option::None),
        Some(rules) => quote!(::core::option::Option::Some(#rules)),
    };
    Ok(TableNames { table, public })
}

fn column(field: &Field) -> syn::Result<TokenStream> {
    let Some(ident) = &field.ident else {
        return Err(syn::Error::new_spanned(field, "a column has a name"));
    };
    let (private, kind, name) = (attributes::private(), &field.ty, ident.unraw().to_string());
    if OWN.contains(&name.as_str()) {
        let message = format!("field `{name}`: the library adds {} to every row", OWN.join(", "));
        return Err(attributes::error(ident.span(), message));
    }
    let (filter, sort, json) =
        (is_marked(field, "filter"), is_marked(field, "sort"), is_marked(field, "json"));
    if json && (filter || sort) {
        let message = format!("field `{name}`: JSON is neither filtered nor sorted by");
        return Err(attributes::error(ident.span(), message));
    }
    let [cell, nullable, choices] = if json {
        [quote!(#private::CellKind::Json), quote!(false), quote!(&[])]
    } else {
        let column = quote!(<#kind as #private::Column>);
        [quote!(#column::KIND), quote!(#column::NULLABLE), quote!(#column::CHOICES)]
    };
    Ok(quote! {
        #private::ColumnSpec {
            name: #name,
            kind: #cell,
            nullable: #nullable,
            choices: #choices,
        }
    })
}

fn marked(fields: &[&Field], mark: &str) -> Vec<String> {
    let marked = fields.iter().filter(|field| is_marked(field, mark));
    marked.filter_map(|field| field.ident.as_ref()).map(|name| name.unraw().to_string()).collect()
}

fn is_marked(field: &Field, mark: &str) -> bool {
    field.attrs.iter().any(|attribute| attribute.path().is_ident(mark))
}

#[cfg(test)]
mod tests {
    use syn::parse_quote;

    use super::*;

    #[test]
    fn errors_name_the_field_and_what_is_allowed() {
        let said = |input: DeriveInput| {
            expand(&input).map_or_else(|error| error.to_string(), |_| String::new())
        };
        let missing = said(parse_quote!(
            struct VoucherRow {
                redeemed: bool,
            }
        ));
        assert_eq!(missing, "#[row(table = \"..\")] is missing on `VoucherRow`");
        let own = said(parse_quote!(
            #[row(table = "v")]
            struct VoucherRow {
                version: i64,
            }
        ));
        assert!(
            own.starts_with("field `version`: the library adds id, partition, version"),
            "{own}"
        );
        let table = said(parse_quote!(
            #[row(table = "v; --")]
            struct VoucherRow {
                a: i64,
            }
        ));
        assert!(table.starts_with("a table's name"), "{table}");
        let sorted = said(parse_quote!(
            #[row(table = "v")]
            struct VoucherRow {
                #[json]
                #[sort]
                a: List<Line, 9>,
            }
        ));
        assert!(sorted.starts_with("field `a`: JSON is neither"), "{sorted}");
        let fits = said(parse_quote!(
            #[row(table = "v")]
            struct VoucherRow {
                #[filter]
                a: bool,
            }
        ));
        assert_eq!(fits, "");
    }
}
