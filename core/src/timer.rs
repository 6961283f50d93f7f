//! A timing wheel.
