//! The checked queries are compiled against `.sqlx`, which lies beside this in the package, whatever
//! the environment of the build says: a `DATABASE_URL` in it is that of another application.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=.sqlx");
    println!("cargo::rustc-env=SQLX_OFFLINE=true");
}
