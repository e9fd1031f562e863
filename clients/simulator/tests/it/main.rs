//! Every handset behaviour, seen from outside: requests as a connector makes them, webhooks as a server receives them.
//!
//! `receiver` is a small webhook server in this process that checks each signature; one file for each channel.

mod control;
mod faults;
mod receiver;
mod sms;
mod voice;
mod whatsapp;
