//! The planner against a cluster in miniature: golden scenarios that read like documentation, and properties.

#[cfg(test)]
mod again;
#[cfg(test)]
mod golden;
#[cfg(test)]
mod show;
#[cfg(test)]
mod sim;

#[cfg(test)]
mod hostile;
#[cfg(test)]
mod isolation;
#[cfg(test)]
mod links;
#[cfg(test)]
mod moved;
#[cfg(test)]
mod property;
#[cfg(test)]
mod services;
#[cfg(test)]
mod strategy;
#[cfg(test)]
mod switch;
