//! Every handset behaviour, seen from outside: requests as a connector makes them, webhooks as a server receives them.
//!
//! `receiver` is a small webhook server in this process that checks each signature; one file for each channel.

#[cfg(test)]
mod control;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod receiver;
#[cfg(test)]
mod sms;
#[cfg(test)]
mod voice;
#[cfg(test)]
mod whatsapp;
