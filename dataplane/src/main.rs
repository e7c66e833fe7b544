//! `dataplane`: the proxy process.

#[cfg(feature = "count-allocations")]
#[global_allocator]
static ALLOCATOR: ringway_engine::counting::Counting = ringway_engine::counting::Counting;

fn main() {
    #[cfg(feature = "planted-cost")]
    if let Err(mistake) = dataplane::planted::plant_cost() {
        eprintln!("error: {mistake}");
        std::process::exit(2);
    }
    let code = match dataplane::house::options::Options::from_args() {
        Ok(options) => dataplane::house::run(options),
        Err(mistake) => {
            eprintln!("error: {mistake}\nTry 'dataplane --help'.");
            2
        }
    };
    std::process::exit(code);
}
