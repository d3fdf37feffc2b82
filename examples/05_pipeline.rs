//! A pipeline that is slow although no processor is busy: what does it wait for?
//!
//! The longest wait is harmless, and the culprit holds others up for a few milliseconds at a time.
//! The tables at the end name it first; `docs/profiling.md` reads them, and `--cured` does what they
//! say.
//!
//! ```text
//! main
//! ├─ heartbeat           waits for the end of the run: the longest wait
//! ├─ source              makes the orders
//! ├─ pricer-1 …          parse an order, look its rate up under a lock
//! └─ invoices            writes them
//! ```
//!
//! `cargo run --features profiling --example 05_pipeline -- [--cured] [--config FILE]`

use selvedge::{Lock, Queue, Signal, Till, spawn};
use std::collections::HashMap;
use std::error::Error;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config/pipeline.yaml");

const ORDERS: u32 = 200;
const PRICERS: usize = 4;
const CURRENCIES: u32 = 8;

struct Order {
    number: u32,
    currency: u32,
}

struct Invoice {
    number: u32,
    rate: u32,
}

/// The rates that were looked up so far.
type Rates = Lock<HashMap<u32, u32>>;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let is_cured = arguments.iter().any(|argument| argument == "--cured");
    let config = arguments.iter().skip_while(|argument| *argument != "--config").nth(1).map_or(CONFIG, String::as_str);
    selvedge::run(config, move |please_stop: &Signal| run(is_cured, please_stop))
}

fn run(is_cured: bool, please_stop: &Signal) -> Result<(), Box<dyn Error>> {
    let (orders, invoices) = (Queue::bounded("orders", 16), Queue::unbounded("invoices"));
    let rates = Arc::new(Lock::new("rates", HashMap::new()));
    let _heartbeat =
        spawn("heartbeat", |please_stop| while !please_stop.wait_for_go_till(&Till::after(Duration::from_secs(30))) {});
    let source = spawn("source", {
        let (orders, please_stop) = (orders.clone(), please_stop.clone());
        move |_| {
            for number in 0..ORDERS {
                let order = Order { number, currency: number % CURRENCIES };
                if orders.add_till(order, &please_stop).is_err() {
                    break;
                }
            }
            orders.close();
        }
    });
    let pricers: Vec<_> = (1..=PRICERS)
        .map(|n| {
            let (orders, invoices, rates) = (orders.clone(), invoices.clone(), rates.clone());
            spawn(format!("pricer-{n}"), move |_| {
                for order in orders.iter() {
                    parse(&order);
                    let rate = if is_cured { rate_once(&rates, &order) } else { rate(&rates, &order) };
                    invoices.add(Invoice { number: order.number, rate }).expect("main closes it when all have ended");
                }
            })
        })
        .collect();
    let writer = spawn("invoices", {
        let invoices = invoices.clone();
        move |_| invoices.iter().map(|invoice| write(&invoice)).count()
    });
    source.join()?;
    for pricer in pricers {
        pricer.join()?;
    }
    invoices.close();
    let written = writer.join()?;
    log::info!("{written} invoices");
    Ok(())
}

/// Reads the order's parts from a slow store.
#[inline(never)]
fn parse(order: &Order) {
    std::thread::sleep(Duration::from_millis(2 + u64::from(order.number % 2)));
}

/// Asks the rate of each order anew, and holds the lock meanwhile.
#[inline(never)]
fn rate(rates: &Rates, order: &Order) -> u32 {
    let mut rates = rates.lock();
    let rate = ask_rate(order.currency);
    rates.insert(order.currency, rate);
    rate
}

/// The cure: the lock is held for the map alone, and a rate that is known is not asked again.
#[inline(never)]
fn rate_once(rates: &Rates, order: &Order) -> u32 {
    if let Some(&known) = rates.lock().get(&order.currency) {
        return known;
    }
    let rate = ask_rate(order.currency);
    rates.lock().insert(order.currency, rate);
    rate
}

/// Another machine answers in a few milliseconds.
#[inline(never)]
fn ask_rate(currency: u32) -> u32 {
    std::thread::sleep(Duration::from_millis(5));
    100 + currency
}

#[inline(never)]
fn write(invoice: &Invoice) {
    std::thread::sleep(Duration::from_micros(500 + u64::from(invoice.number + invoice.rate) % 7));
}
