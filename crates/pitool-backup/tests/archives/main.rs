//! Archives from outside: what stock tools, power cuts, damage and other programs make of them.

mod changing;
mod damage;
mod databases;
mod everything;
mod killed;
mod place;
