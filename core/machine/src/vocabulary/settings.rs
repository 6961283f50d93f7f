//! What is known of a setting beside its value, and the tables that say it.
//!
//! A struct of settings is written as a table by [`settings!`](crate::settings!): a row has the setting's
//! name, unit, default and help, and where there is one its rule. The struct, its defaults and its check
//! follow from the table; so do, by [`SettingTable::SETTINGS`], flags, variables, the settings file, and
//! what is compared between instances.

use std::time::Duration;

use crate::config::duration;

/// A setting, without its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setting {
    /// Its name: a field of its struct.
    pub name: &'static str,
    /// The heading under which it is listed.
    pub group: &'static str,
    /// What its value is.
    pub unit: Unit,
    /// What it does, in one paragraph.
    pub help: &'static str,
    /// Which instances have to agree on it.
    pub scope: Scope,
    /// What its value must be for the settings to fit together.
    pub rule: Option<&'static str>,
    /// A value to show if there is no default.
    pub example: Option<&'static str>,
    /// Whether a running server takes another value.
    pub reload: Reload,
    /// The setting behind which it is listed, if that stands in another table, or is itself listed so.
    pub behind: Option<&'static str>,
}

/// What the value of a setting is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A duration, written as `500ms`, `10s`, `30m` or `2h`.
    Time,
    /// A size in bytes.
    Bytes,
    /// A number of things, or of things per second.
    Count,
    /// Yes or no, written as `true` or `false`.
    Switch,
    /// An IP address and a port to listen at.
    Address,
    /// The path of a file.
    File,
    /// Any number of texts.
    List,
    /// A text, and what stands for it in a command's help.
    Text(&'static str),
    /// One of these words, and what stands for it in a command's help.
    OneOf(&'static str, &'static [Choice]),
}

impl Unit {
    /// Whether its values are whole numbers.
    pub const fn is_number(self) -> bool {
        match self {
            Self::Time | Self::Bytes | Self::Count => true,
            Self::Switch
            | Self::Address
            | Self::File
            | Self::List
            | Self::Text(_)
            | Self::OneOf(..) => false,
        }
    }
}

/// A word that a setting can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Choice {
    /// The value as it is written in a file, a variable or a flag.
    pub word: &'static str,
    /// What it stands for.
    pub help: &'static str,
}

/// Which instances have to agree on the value of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// None: each process has its own.
    Process,
    /// All instances of a cluster. They compare their values when two of them open a link, in which it
    /// is the one at this place, from 0 and without a gap.
    Cluster(usize),
}

/// Whether a running server takes another value of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// It counts after a restart.
    Refused,
    /// It counts as soon as the settings are read again.
    Taken,
}

/// A struct whose fields are settings, as [`settings!`](crate::settings!) makes it.
pub trait SettingTable: Default {
    /// Its settings, a field each, in the order in which they are listed.
    const SETTINGS: &'static [Setting];

    /// The values that are numbers, in the order of [`Self::SETTINGS`]. Times are in milliseconds.
    fn numbers(&self) -> Vec<Option<u64>>;
}

impl Setting {
    /// A setting of which nothing else is known.
    pub const fn new(
        name: &'static str,
        group: &'static str,
        unit: Unit,
        help: &'static str,
    ) -> Self {
        Self {
            name,
            group,
            unit,
            help: help.trim_ascii(),
            scope: Scope::Process,
            rule: None,
            example: None,
            reload: Reload::Refused,
            behind: None,
        }
    }
}

impl Unit {
    /// A value that is a number, as it is written.
    pub fn written(self, number: u64) -> String {
        match self {
            Self::Time => duration::format(Duration::from_millis(number)),
            Self::Bytes
            | Self::Count
            | Self::Switch
            | Self::Address
            | Self::File
            | Self::List
            | Self::Text(_)
            | Self::OneOf(..) => number.to_string(),
        }
    }
}

/// A struct of settings, as a table.
///
/// A row is the help as a doc comment, then `name: Type as Unit = default`, and in this order what else
/// there is: `scope: Cluster(place)`, `rule: |table| whether it holds, "what must be"`, `example: "value"`,
/// `reload: Taken`, `behind: "setting of another table"`. The units are those of [`Unit`](crate::settings::Unit). Times say
/// `#[serde(with = "duration")]`, for the module of this name in [`config`](crate::config).
///
/// ```
/// use std::time::Duration;
///
/// use switchboard_core::config::duration;
/// use switchboard_core::settings::{Scope, SettingTable};
///
/// switchboard_core::settings! {
///     /// Settings of a kettle.
///     pub struct Kettle {
///         "Water" {
///             /// The time until it boils, at most.
///             #[serde(with = "duration")]
///             patience: Duration as Time = Duration::from_secs(60),
///                 rule: |kettle| !kettle.patience.is_zero(), "must be above zero";
///             /// Cups that it holds.
///             cups: usize as Count = 4;
///         }
///     }
/// }
///
/// assert_eq!(Kettle::default().cups, 4);
/// assert_eq!(Kettle::default().numbers(), [Some(60_000), Some(4)]);
/// assert_eq!(Kettle::SETTINGS[1].help, "Cups that it holds.");
/// assert_eq!(Kettle::SETTINGS[1].scope, Scope::Process);
/// let cold = Kettle { patience: Duration::ZERO, ..Kettle::default() };
/// assert_eq!(cold.misfits()[0].to_string(), "`patience` must be above zero");
/// ```
#[macro_export]
macro_rules! settings {
    (
        $(#[$attribute:meta])*
        $visibility:vis struct $Table:ident {
            $($group:literal {
                $(
                    $(#[doc = $help:literal])+
                    $(#[serde($($serde:tt)+)])?
                    $name:ident: $type:ty as $unit:ident $(($($of:expr),+))? = $default:expr
                    $(, scope: $scope:ident($place:literal))?
                    $(, rule: $holds:expr, $rule:expr)?
                    $(, example: $example:literal)?
                    $(, reload: $reload:ident)?
                    $(, behind: $behind:literal)?;
                )+
            })+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Debug, PartialEq, ::serde::Deserialize, ::serde::Serialize)]
        #[serde(default, deny_unknown_fields)]
        $visibility struct $Table {
            $($(
                $(#[doc = $help])+
                $(#[serde($($serde)+)])?
                $visibility $name: $type,
            )+)+
        }

        impl Default for $Table {
            fn default() -> Self {
                Self { $($($name: $default,)+)+ }
            }
        }

        impl $Table {
            /// Everything that does not fit together, a field each, and what would.
            $visibility fn misfits(&self) -> Vec<$crate::config::ConfigError> {
                let holds = |rule: fn(&Self) -> bool| rule(self);
                $crate::config::ConfigError::broken(&[
                    $($($((holds($holds), stringify!($name), $rule),)?)+)+
                ])
                .collect()
            }
        }

        impl $crate::settings::SettingTable for $Table {
            const SETTINGS: &'static [$crate::settings::Setting] = &[
                $($(
                    $crate::settings::Setting {
                        $(scope: $crate::settings::Scope::$scope($place),)?
                        $(rule: Some($rule),)?
                        $(example: Some($example),)?
                        $(reload: $crate::settings::Reload::$reload,)?
                        $(behind: Some($behind),)?
                        ..$crate::settings::Setting::new(
                            stringify!($name),
                            $group,
                            $crate::settings::Unit::$unit $(($($of),+))?,
                            concat!($($help),+),
                        )
                    },
                )+)+
            ];

            fn numbers(&self) -> Vec<Option<u64>> {
                vec![$($($crate::settings!(@number $unit self.$name),)+)+]
            }
        }
    };
    (@number Time $value:expr) => {
        Some(u64::try_from($value.as_millis()).unwrap_or(u64::MAX))
    };
    (@number Bytes $value:expr) => {
        Some($value as u64)
    };
    (@number Count $value:expr) => {
        Some($value as u64)
    };
    (@number $unit:ident $value:expr) => {
        None
    };
}

/// An enum whose variants are the words that a setting can be.
///
/// ```
/// switchboard_core::choice! {
///     /// How hot it is.
///     pub enum Heat {
///         /// One can drink it.
///         Warm = "warm",
///         /// One cannot.
///         Boiling = "boiling",
///     }
/// }
///
/// assert_eq!(Heat::CHOICES[1].word, "boiling");
/// assert_eq!(Heat::CHOICES[1].help, "One cannot.");
/// ```
#[macro_export]
macro_rules! choice {
    (
        $(#[$attribute:meta])*
        $visibility:vis enum $Choice:ident {
            $($(#[doc = $help:literal])+ $variant:ident = $word:literal,)+
        }
    ) => {
        $(#[$attribute])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ::serde::Deserialize, ::serde::Serialize)]
        $visibility enum $Choice {
            $($(#[doc = $help])+ #[serde(rename = $word)] $variant,)+
        }

        impl $Choice {
            /// Its words, as settings have them.
            $visibility const CHOICES: &'static [$crate::settings::Choice] = &[
                $($crate::settings::Choice {
                    word: $word,
                    help: concat!($($help),+).trim_ascii(),
                },)+
            ];
        }
    };
}
