//! Has the linker put side by side in the program what the frequent commands need (ADR 15).

fn main() {
    println!("cargo::rerun-if-changed=order.ld");
    // Of test programs nobody waits for the page faults.
    if std::env::var("PROFILE").is_ok_and(|profile| profile == "release") {
        println!("cargo::rustc-link-arg-bin=urun=-Wl,--script={}/order.ld", env!("CARGO_MANIFEST_DIR"));
    }
}
